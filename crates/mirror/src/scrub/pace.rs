//! How fast to read: evenly over the period, never above the budget. Pure.

use std::time::Duration;

/// How often everything is read again, and how fast at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Everything is read again within this time.
    pub period: Duration,
    /// Bytes a second.
    pub bandwidth: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self { period: Duration::from_hours(14 * 24), bandwidth: 20 << 20 }
    }
}

/// How far a round is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Time since the round began.
    pub elapsed: Duration,
    /// Bytes that have been read in it.
    pub done: u64,
    /// Bytes that there are.
    pub total: u64,
}

/// A round is planned to take so many fifths of its period: what is late can be caught up with in the rest.
const PLANNED: u32 = 4;

/// How long to wait before the next file is read.
///
/// Whatever time is said to have passed: it is never read above the budget, nor does one wait longer than for what the whole
/// period would allow.
#[must_use]
pub fn pause(rules: &Rules, progress: Progress) -> Duration {
    let Progress { elapsed, done, total } = progress;
    let planned = rules.period / 5 * PLANNED;
    let share = share(done, total);
    planned.mul_f64(share).saturating_sub(elapsed)
}

/// Whether the rest cannot be read within the period, even at the whole budget.
#[must_use]
pub fn is_late(rules: &Rules, progress: Progress) -> bool {
    let Progress { elapsed, done, total } = progress;
    elapsed.saturating_add(needed(rules, total.saturating_sub(done))) > rules.period
}

/// How long it takes to read so many bytes at the whole budget.
#[must_use]
pub fn needed(rules: &Rules, bytes: u64) -> Duration {
    Duration::from_secs(bytes / rules.bandwidth.max(1))
}

#[allow(clippy::cast_precision_loss, reason = "a share of a time needs no more precision")]
fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 1.0 } else { (done as f64 / total as f64).clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const RULES: Rules = Rules { period: Duration::from_hours(10), bandwidth: 1 << 20 };

    fn progress(elapsed: Duration, done: u64, total: u64) -> Progress {
        Progress { elapsed, done, total }
    }

    #[test]
    fn reading_is_spread_over_most_of_the_period() {
        assert_eq!(pause(&RULES, progress(Duration::ZERO, 0, 100)), Duration::ZERO);
        assert_eq!(pause(&RULES, progress(HOUR, 50, 100)), 3 * HOUR);
        assert_eq!(pause(&RULES, progress(5 * HOUR, 50, 100)), Duration::ZERO, "it is behind");
        assert_eq!(pause(&RULES, progress(HOUR, 100, 100)), 7 * HOUR);
        assert_eq!(pause(&RULES, progress(HOUR, 0, 0)), 7 * HOUR, "nothing is read again and again");
    }

    #[test]
    fn a_period_that_the_budget_does_not_allow_is_late_from_the_start() {
        let all = (10 * 3600) << 20;
        assert!(!is_late(&RULES, progress(Duration::ZERO, 0, all)));
        assert!(is_late(&RULES, progress(Duration::ZERO, 0, all + (1 << 20))));
        assert!(is_late(&RULES, progress(HOUR, 0, all)) && !is_late(&RULES, progress(HOUR, all / 10, all)));
        assert!(is_late(&RULES, progress(11 * HOUR, all, all)));
    }

    #[test]
    fn no_clock_makes_it_wait_longer_than_the_period_or_fail() {
        for elapsed in [Duration::ZERO, HOUR, Duration::from_hours(24 * 365), Duration::MAX] {
            for (done, total) in [(0, 0), (0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX)] {
                assert!(pause(&RULES, progress(elapsed, done, total)) <= RULES.period);
                let _ = is_late(&RULES, progress(elapsed, done, total));
            }
        }
        assert!(needed(&Rules { bandwidth: 0, ..RULES }, u64::MAX) > HOUR);
    }
}
