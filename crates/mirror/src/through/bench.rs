//! NAR files that were wrong at their source, which is not asked for them again for a while.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;

/// How long a place is left alone: the source may have put it right by then.
const TERM: Duration = Duration::from_mins(10);
/// Places that are remembered.
const MOST: usize = 1024;

/// The URLs whose bytes were wrong, and when.
#[derive(Debug, Default)]
pub(super) struct Bench(Mutex<HashMap<String, Instant>>);

impl Bench {
    /// The bytes at `url` were wrong.
    pub(super) fn add(&self, url: &str, now: Instant) {
        let mut benched = lock(&self.0);
        benched.retain(|_, since| now.saturating_duration_since(*since) < TERM);
        if benched.len() >= MOST {
            benched.clear();
        }
        benched.insert(url.to_owned(), now);
    }

    /// Whether they were a moment ago.
    pub(super) fn has(&self, url: &str, now: Instant) -> bool {
        lock(&self.0).get(url).is_some_and(|since| now.saturating_duration_since(*since) < TERM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_left_alone_for_a_while_and_the_memory_is_bounded() {
        let (bench, start) = (Bench::default(), Instant::now());
        bench.add("a", start);
        assert!(bench.has("a", start) && !bench.has("b", start));
        assert!(!bench.has("a", start + TERM));
        for number in 0..3 * MOST {
            bench.add(&number.to_string(), start);
        }
        assert!(lock(&bench.0).len() <= MOST);
        bench.add("late", start + TERM);
        assert_eq!(lock(&bench.0).len(), 1, "what is past is forgotten");
    }
}
