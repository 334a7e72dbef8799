//! Places that did not answer or broke off a moment ago are asked last, so that a mirror that is gone costs one waiting client
//! its time-out and not every client.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a place that did not answer is asked last. The map says it too, but only after the operator has noticed.
const PENALTY: Duration = Duration::from_secs(15);

/// When each place last failed. It has as many entries as there are places: mirrors of the map and upstreams.
#[derive(Debug, Default)]
pub(super) struct Unwell {
    failed: Mutex<HashMap<String, Instant>>,
}

impl Unwell {
    /// It did not answer, for there was no connection or silence, or it broke off.
    pub(super) fn failed(&self, place: &str, now: Instant) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.retain(|_, at| now.saturating_duration_since(*at) < PENALTY);
        failed.insert(place.to_owned(), now);
    }

    /// It answered, whatever it said.
    pub(super) fn answered(&self, place: &str) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).remove(place);
    }

    /// The places, those that failed a moment ago last; the order is otherwise kept.
    pub(super) fn last<P: ToString>(&self, mut places: Vec<P>, now: Instant) -> Vec<P> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        places.sort_by_key(|place| {
            failed.get(&place.to_string()).is_some_and(|at| now.saturating_duration_since(*at) < PENALTY)
        });
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_failed_is_last_until_it_answers_or_time_has_passed() {
        let unwell = Unwell::default();
        let start = Instant::now();
        let order = |now| unwell.last(vec!["a", "b", "c"], now);
        unwell.failed("a", start);
        assert_eq!(order(start), ["b", "c", "a"]);
        assert_eq!(order(start + PENALTY), ["a", "b", "c"]);
        unwell.failed("b", start);
        assert_eq!(order(start), ["c", "a", "b"]);
        unwell.answered("a");
        assert_eq!(order(start), ["a", "c", "b"]);
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let unwell = Unwell::default();
        let start = Instant::now();
        unwell.failed("a", start);
        unwell.failed("b", start + PENALTY);
        assert_eq!(unwell.failed.lock().unwrap().len(), 1);
    }
}
