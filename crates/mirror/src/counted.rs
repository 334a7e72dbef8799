//! Time that is counted, and never read from a clock on the wall, which may jump by a year or start in 1970.
//!
//! Whoever counts says again and again how long the program has been running, and the time since it last said so counts, up
//! to a bound. What lies between two runs of the program counts for nothing. So no clock makes anything go early; a mirror that
//! is switched off at night only keeps things longer.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Time that has been counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    total: Duration,
    /// When the step before this one was; `None`: the next one counts for nothing.
    last: Option<Duration>,
}

impl Counted {
    /// Goes on from what was counted in earlier runs.
    #[must_use]
    pub const fn from(total: Duration) -> Self {
        Self { total, last: None }
    }

    /// Time passes; `now` is time since the program started. How much of it counts: what has passed since the step before,
    /// and `at_most` so much.
    pub fn step(&mut self, now: Duration, at_most: Duration) -> Duration {
        let step = self.last.map_or(Duration::ZERO, |last| now.saturating_sub(last).min(at_most));
        self.last = Some(now);
        self.total = self.total.saturating_add(step);
        step
    }

    /// What passes until the next step counts for nothing.
    pub const fn pause(&mut self) {
        self.last = None;
    }

    /// All of it.
    #[must_use]
    pub const fn total(&self) -> Duration {
        self.total
    }
}

/// Keeps a counted age of a file as the file's time, after 1970. Whoever writes to the file makes it young again.
pub fn keep_age(path: &Path, age: Duration) -> io::Result<()> {
    File::options().write(true).open(path)?.set_modified(SystemTime::UNIX_EPOCH + age)
}

/// The age that was kept as the time of a file. A time that is no age up to `oldest` is of a clock: the file was written to
/// since, or a crash came before [`keep_age`].
#[must_use]
pub fn kept_age(modified: io::Result<SystemTime>, oldest: Duration) -> Duration {
    let age = modified.ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    age.filter(|age| *age <= oldest).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const YEAR: Duration = Duration::from_hours(365 * 24);

    #[test]
    fn a_jump_counts_for_a_step_and_a_restart_for_nothing() {
        let mut counted = Counted::default();
        assert_eq!(counted.step(5 * HOUR, HOUR), Duration::ZERO, "nothing was before it");
        assert_eq!(counted.step(5 * HOUR + HOUR / 2, HOUR), HOUR / 2);
        assert_eq!(counted.step(YEAR, HOUR), HOUR, "a year forward");
        assert_eq!(counted.step(HOUR, HOUR), Duration::ZERO, "and back");
        counted.pause();
        assert_eq!(counted.step(2 * HOUR, HOUR), Duration::ZERO);
        let mut counted = Counted::from(counted.total());
        counted.step(YEAR, HOUR);
        assert_eq!(counted.total(), HOUR + HOUR / 2);
        assert_eq!(Counted::from(Duration::MAX).total(), Duration::MAX);
        let mut full = Counted { last: Some(HOUR), ..Counted::from(Duration::MAX) };
        full.step(2 * HOUR, HOUR);
        assert_eq!(full.total(), Duration::MAX);
    }

    #[test]
    fn the_age_of_a_file_is_kept_and_a_time_of_a_clock_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("file");
        std::fs::write(&path, "x").unwrap();
        let age = || kept_age(std::fs::metadata(&path).and_then(|meta| meta.modified()), 24 * HOUR);
        assert_eq!(age(), Duration::ZERO, "as it was written");
        for kept in [Duration::ZERO, HOUR, 24 * HOUR] {
            keep_age(&path, kept).unwrap();
            assert_eq!(age(), kept);
        }
        for clock in [25 * HOUR, 56 * YEAR, 58 * YEAR] {
            keep_age(&path, clock).unwrap();
            assert_eq!(age(), Duration::ZERO);
        }
        let before = File::options().write(true).open(&path).unwrap();
        before.set_modified(SystemTime::UNIX_EPOCH - HOUR).unwrap();
        assert_eq!(age(), Duration::ZERO, "before 1970");
    }
}
