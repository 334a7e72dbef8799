//! What the reader sees: numbered steps, what each proves, and signs of life in between.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::Result;
use granary_e2e::wait::wait_for;

/// A wait that lasts says how it stands this often.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// News are told at most this often.
const NEWS: Duration = Duration::from_secs(3);

/// Prints with the time since the start.
pub struct Narrator {
    start: Instant,
    steps: Cell<u32>,
}

impl Narrator {
    /// The clock starts now.
    pub fn new() -> Self {
        Self { start: Instant::now(), steps: Cell::new(0) }
    }

    /// A new step, and what it shows.
    pub fn step(&self, title: &str, shows: &str) {
        self.steps.set(self.steps.get() + 1);
        println!("\n[{}] {}. {title}", self.clock(), self.steps.get());
        println!("           {shows}");
    }

    /// Something that happened in the step.
    pub fn note(&self, text: &str) {
        println!("[{}]    {text}", self.clock());
    }

    /// Repeats `check` until it holds. Its errors say how far things are, and the reader is told.
    pub async fn wait<T>(
        &self,
        what: &str,
        limit: Duration,
        mut check: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let (mut told, mut when) = (String::new(), Instant::now());
        wait_for(what, limit, async || {
            let result = check().await;
            if let Err(error) = &result {
                let news = format!("{error:#}");
                let due = if news == told { HEARTBEAT } else { NEWS };
                if when.elapsed() >= due {
                    let first = news.lines().next().unwrap_or_default();
                    self.note(&format!("... {first}"));
                    (told, when) = (news, Instant::now());
                }
            }
            result
        })
        .await
    }

    fn clock(&self) -> String {
        format!("{:6.1} s", self.start.elapsed().as_secs_f64())
    }
}

/// Prints a text as it is, such as the output of a command.
pub fn block(text: &str) {
    println!();
    for line in text.trim_end().lines() {
        println!("    {line}");
    }
}
