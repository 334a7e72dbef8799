//! What the user reads: one line per step, each with the time since the start.

use std::time::{Duration, Instant};

use anyhow::Result;

/// Prints lines with the time since the command began.
pub struct Tell {
    start: Instant,
}

impl Tell {
    /// A narrator whose clock starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// Prints one line.
    pub fn say(&self, text: &str) {
        println!("[{}] {text}", clock(self.start.elapsed()));
    }

    /// Says what begins, does it, and says how long it took.
    pub fn step<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.say(&format!("{what} ..."));
        let began = Instant::now();
        let result = work();
        let took = span(began.elapsed());
        match &result {
            Ok(_) => self.say(&format!("{what}: done in {took}")),
            Err(_) => self.say(&format!("{what}: FAILED after {took}")),
        }
        result
    }
}

/// `m:ss.t`, padded so that the lines of one run stand under each other.
fn clock(elapsed: Duration) -> String {
    let (minutes, seconds) = (elapsed.as_secs() / 60, elapsed.as_secs() % 60);
    format!("{minutes:2}:{seconds:02}.{}", elapsed.subsec_millis() / 100)
}

/// A duration for people: `0.4 s`, `37 s`, `8 min 05 s`.
pub fn span(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        0..10 => format!("{:.1} s", elapsed.as_secs_f64()),
        seconds @ 10..120 => format!("{seconds} s"),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_grow_coarser_with_their_length() {
        assert_eq!(span(Duration::from_millis(440)), "0.4 s");
        assert_eq!(span(Duration::from_secs(37)), "37 s");
        assert_eq!(span(Duration::from_secs(485)), "8 min 05 s");
    }

    #[test]
    fn the_clock_keeps_its_width() {
        assert_eq!(clock(Duration::from_millis(61_250)), " 1:01.2");
        assert_eq!(clock(Duration::from_hours(1)), "60:00.0");
    }
}
