//! Files that nobody had a moment ago: a client that asks again and again does not become as many questions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long the upstreams are not asked again. Short: a realisation comes to be when something is built.
const MEMORY: Duration = Duration::from_secs(30);
/// Names that are remembered.
const MOST: usize = 4096;

/// Names, and when nobody had the file.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<String, Instant>>);

impl Recent {
    pub(super) fn add(&self, name: &str, now: Instant) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() >= MOST {
            names.retain(|_, at| now.saturating_duration_since(*at) < MEMORY);
        }
        if names.len() < MOST {
            names.insert(name.to_owned(), now);
        }
    }

    pub(super) fn has(&self, name: &str, now: Instant) -> bool {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(name).is_some_and(|at| now.saturating_duration_since(*at) < MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_remembered_for_a_moment_and_their_number_is_bounded() {
        let (recent, now) = (Recent::default(), Instant::now());
        recent.add("a", now);
        assert!(recent.has("a", now) && !recent.has("b", now));
        assert!(!recent.has("a", now + MEMORY));
        (0..MOST + 10).for_each(|number| recent.add(&number.to_string(), now));
        assert_eq!(recent.0.lock().unwrap().len(), MOST);
        recent.add("b", now + MEMORY);
        assert_eq!(recent.0.lock().unwrap().len(), 1);
    }
}
