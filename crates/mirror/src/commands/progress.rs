//! How far it is: a bar on a terminal, a line now and then elsewhere, nothing when that is wanted.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::words::size;

/// Between two lines, at least.
const LINES: Duration = Duration::from_secs(10);
/// The bar: artifacts, bytes, rate, time left, and what came last.
const TEMPLATE: &str = "{prefix} [{bar:25}] {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left  {wide_msg}";

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Artifacts that are there.
    pub(super) done: u64,
    /// Artifacts that are wanted.
    pub(super) artifacts: u64,
    /// Bytes of NAR files that are there.
    pub(super) bytes: u64,
    /// Bytes that are wanted, as far as that is known.
    pub(super) total: u64,
}

/// Tells how far it is.
#[derive(Debug)]
pub(super) struct Progress {
    look: Look,
    state: Mutex<State>,
}

#[derive(Debug)]
enum Look {
    Bar(ProgressBar),
    Lines,
    Quiet,
}

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    /// When the last line was printed.
    told: Option<Instant>,
}

impl Progress {
    /// By what standard error is; `quiet` says nothing but what is handed to [`Self::line`].
    pub(super) fn new(quiet: bool) -> Self {
        let look = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Look::Quiet,
            (false, false) => Look::Lines,
            (false, true) => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                // The template is ours and tested.
                if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.enable_steady_tick(Duration::from_millis(500));
                Look::Bar(bar)
            }
        };
        Self { look, state: Mutex::default() }
    }

    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.look, Look::Quiet)
    }

    /// Where it is now.
    pub(super) fn set(&self, counts: Counts) {
        self.change(|now| *now = counts);
    }

    /// Goes on from where it is.
    pub(super) fn change(&self, change: impl FnOnce(&mut Counts)) {
        let mut state = self.state();
        let before = state.counts;
        change(&mut state.counts);
        let counts = state.counts;
        match &self.look {
            Look::Quiet => {}
            Look::Lines => {
                let now = Instant::now();
                if before != counts && state.told.is_none_or(|told| now.duration_since(told) >= LINES) {
                    state.told = Some(now);
                    eprintln!("{}", line(&counts));
                }
            }
            Look::Bar(bar) => {
                let Counts { done, artifacts, bytes, total } = counts;
                bar.set_prefix(format!("{done} of {artifacts} artifacts"));
                bar.set_length(total.max(bytes));
                bar.set_position(bytes);
                if before == Counts::default() {
                    // What was there at the start says nothing about the rate.
                    bar.reset_eta();
                }
            }
        }
    }

    /// What came last.
    pub(super) fn current(&self, what: impl Display) {
        if let Look::Bar(bar) = &self.look {
            bar.set_message(what.to_string());
        }
    }

    /// A line for people, above the bar; printed in every case.
    pub(super) fn line(&self, text: &str) {
        match &self.look {
            Look::Bar(bar) => bar.suspend(|| eprintln!("{text}")),
            Look::Lines | Look::Quiet => eprintln!("{text}"),
        }
    }

    /// Takes the bar away; elsewhere a last line.
    pub(super) fn end(&self) {
        match &self.look {
            Look::Bar(bar) => bar.finish_and_clear(),
            Look::Lines if self.state().counts != Counts::default() => {
                eprintln!("{}", line(&self.state().counts));
            }
            Look::Lines | Look::Quiet => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Numbers only: a thread that panicked left no damage.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(counts: &Counts) -> String {
    let Counts { done, artifacts, bytes, total } = *counts;
    format!("{done} of {artifacts} artifacts, {} of {}", size(bytes), size(total.max(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_one() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
        let counts = Counts { done: 1, artifacts: 3, bytes: 2048, total: 4096 };
        assert_eq!(line(&counts), "1 of 3 artifacts, 2.0 KiB of 4.0 KiB");
    }
}
