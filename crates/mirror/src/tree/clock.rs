//! Time as the tree has it: counted, never read from a clock on the wall ([`crate::counted`]).

use std::sync::PoisonError;
use std::time::Duration;

use super::Tree;
use crate::counted::Counted;

/// The most that one step counts for. They are seconds apart.
const LONGEST_STEP: Duration = Duration::from_hours(1);
/// What is counted before anything grows older by it. A restart loses so much at most.
const GRAIN: Duration = Duration::from_hours(1);

/// The time that has passed.
#[derive(Debug, Default)]
pub(super) struct Clock {
    counted: Counted,
    /// What everything has grown older by.
    told: Duration,
}

impl Clock {
    /// Time passes. By how much everything grows older now, if it does.
    fn step(&mut self, now: Duration) -> Option<Duration> {
        self.counted.step(now, LONGEST_STEP);
        let since = self.counted.total().saturating_sub(self.told);
        (since >= GRAIN).then(|| {
            self.told = self.counted.total();
            since
        })
    }
}

impl Tree {
    /// Time passes; `now` is time since the program started. By this alone former names of NAR files, and files that came in
    /// part, grow old. In memory; once an hour it blocks on the disk.
    pub fn time_passes(&self, now: Duration) {
        let step = self.clock.lock().unwrap_or_else(PoisonError::into_inner).step(now);
        if let Some(step) = step {
            self.names_grow_older(step);
            self.partials.grow_older(step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_told_once_and_a_jump_is_one_at_most() {
        let (mut clock, minutes) = (Clock::default(), Duration::from_mins);
        assert_eq!(clock.step(minutes(7)), None);
        assert_eq!(clock.step(minutes(66)), None);
        assert_eq!(clock.step(minutes(67)), Some(minutes(60)));
        assert_eq!(clock.step(minutes(68)), None);
        assert_eq!(clock.step(minutes(365 * 24 * 60)), Some(minutes(61)));
        assert_eq!(clock.step(minutes(0)), None, "and back");
        assert_eq!(clock.step(minutes(60)), Some(minutes(60)));
    }
}
