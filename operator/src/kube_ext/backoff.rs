//! How long to wait after failures: one counter for each object, doubling with jitter.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(2);

/// Counts failures in a row for each object. An object that succeeded or is gone is forgotten.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: Mutex<HashMap<String, u32>>,
}

// === impl Backoff ===

impl Backoff {
    /// Counts a failure of an object and says how long to wait: 1 s doubled with each failure in a row up to two minutes, times
    /// 0.5 to 1.0. `random` is from 0 to 1.
    pub fn failed(&self, key: &str, random: f64) -> Duration {
        let mut failures = self.lock();
        let count = failures.entry(key.to_owned()).or_insert(0);
        let doubled = FIRST.saturating_mul(1_u32.checked_shl(*count).unwrap_or(u32::MAX)).min(LONGEST);
        *count = count.saturating_add(1);
        doubled.mul_f64(f64::midpoint(1.0, random.clamp(0.0, 1.0)))
    }

    /// Forgets an object's failures.
    pub fn succeeded(&self, key: &str) {
        self.lock().remove(key);
    }

    /// Forgets the objects that are gone.
    pub fn retain(&self, known: impl Fn(&str) -> bool) {
        self.lock().retain(|key, _| known(key));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        // Each change is one call on the map, so a poisoned lock guards sound data.
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_a_limit_and_starts_again_after_success() {
        let backoff = Backoff::default();
        let waits: Vec<u64> = (0..10).map(|_| backoff.failed("a", 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120, 120]);
        assert_eq!(backoff.failed("b", 0.0), Duration::from_millis(500));
        backoff.succeeded("a");
        assert_eq!(backoff.failed("a", 1.0).as_secs(), 1);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let backoff = Backoff::default();
        backoff.failed("a", 1.0);
        backoff.failed("b", 1.0);
        backoff.retain(|key| key == "b");
        assert_eq!(backoff.lock().keys().collect::<Vec<_>>(), ["b"]);
    }

    #[test]
    fn a_hundred_failures_do_not_overflow() {
        let backoff = Backoff::default();
        assert!((0..100).map(|_| backoff.failed("a", 1.0)).all(|wait| wait <= LONGEST));
    }
}
