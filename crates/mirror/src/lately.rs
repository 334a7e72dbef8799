//! A bounded memory of what was so a moment ago.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys, each remembered for a while.
#[derive(Debug)]
pub(crate) struct Lately<K> {
    term: Duration,
    most: usize,
    since: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Lately<K> {
    /// Each for `term`, and at most so many: when there are more, the newest is kept.
    pub(crate) fn new(term: Duration, most: usize) -> Self {
        Self { term, most, since: Mutex::default() }
    }

    /// It is so now.
    pub(crate) fn add(&self, key: K, now: Instant) {
        let mut since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if since.len() >= self.most {
            since.retain(|_, since| now.saturating_duration_since(*since) < self.term);
        }
        if since.len() >= self.most {
            since.clear();
        }
        since.insert(key, now);
    }

    /// Whether it was so a moment ago, as far as is remembered.
    pub(crate) fn has<Q>(&self, key: &Q, now: Instant) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let since = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.get(key).is_some_and(|since| now.saturating_duration_since(*since) < self.term)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Duration = Duration::from_secs(10);
    const MOST: usize = 100;

    #[test]
    fn what_was_so_a_moment_ago_is_forgotten_soon_and_the_memory_is_bounded() {
        let (lately, start) = (Lately::<String>::new(TERM, MOST), Instant::now());
        lately.add("a".into(), start);
        assert!(lately.has("a", start) && !lately.has("b", start));
        assert!(!lately.has("a", start + TERM));
        for number in 0..3 * MOST {
            lately.add(number.to_string(), start);
            assert!(lately.has(number.to_string().as_str(), start), "the newest is kept");
        }
        assert!(lately.since.lock().unwrap().len() <= MOST);
    }

    #[test]
    fn when_it_is_full_what_is_past_leaves_first() {
        let (lately, start) = (Lately::<usize>::new(TERM, MOST), Instant::now());
        (0..MOST / 2).for_each(|number| lately.add(number, start));
        (MOST / 2..=MOST).for_each(|number| lately.add(number, start + TERM));
        assert!((MOST / 2..=MOST).all(|number| lately.has(&number, start + TERM)));
        assert_eq!(lately.since.lock().unwrap().len(), MOST / 2 + 1);
    }
}
