//! When a source that keeps failing is left alone.

use std::time::{Duration, Instant};

/// Failures in a row that are put up with.
const PATIENCE: u32 = 3;
/// Longest time to leave a source alone.
const LONGEST: Duration = Duration::from_secs(30);

/// What is known about a source's health. A source that failed three times in a row is not asked for a second; each further
/// failure doubles that, up to half a minute; one success ends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circuit {
    failures: u32,
    open_until: Option<Instant>,
    message: Option<String>,
}

impl Circuit {
    /// How much longer the source is left alone; `None` when it may be asked.
    #[must_use]
    pub fn left_alone(&self, now: Instant) -> Option<Duration> {
        self.open_until?.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    /// It answered, be it that it does not have what was asked for.
    pub fn answered(&mut self) {
        *self = Self::default();
    }

    /// It did not answer, for this reason.
    pub fn failed(&mut self, now: Instant, message: String) {
        self.failures = self.failures.saturating_add(1);
        self.message = Some(message);
        if let Some(beyond) = self.failures.checked_sub(PATIENCE) {
            let pause = Duration::from_secs(1).saturating_mul(1_u32.checked_shl(beyond).unwrap_or(u32::MAX));
            self.open_until = now.checked_add(pause.min(LONGEST));
        }
    }

    /// Why it did not answer the last time, unless it did.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_after_three_failures_and_closes_by_one_success() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        circuit.failed(now, "one".into());
        circuit.failed(now, "two".into());
        assert_eq!((circuit.left_alone(now), circuit.trouble()), (None, Some("two")));
        circuit.failed(now, "three".into());
        assert_eq!(circuit.left_alone(now), Some(Duration::from_secs(1)));
        assert_eq!(circuit.left_alone(now + Duration::from_secs(1)), None);
        circuit.failed(now, "four".into());
        assert_eq!(circuit.left_alone(now), Some(Duration::from_secs(2)));
        for _ in 0..40 {
            circuit.failed(now, "more".into());
        }
        assert_eq!(circuit.left_alone(now), Some(LONGEST));
        circuit.answered();
        assert_eq!((circuit.left_alone(now), circuit.trouble()), (None, None));
    }
}
