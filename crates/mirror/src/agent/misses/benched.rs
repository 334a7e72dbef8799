//! URLs whose bytes were wrong, and which are not asked again.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Lies that are remembered.
const MOST: usize = 1024;

/// Forgotten at a restart, and when there are too many.
#[derive(Debug, Default)]
pub(super) struct Benched(Mutex<HashSet<String>>);

impl Benched {
    /// Remembers one.
    pub(super) fn add(&self, url: &str) {
        let mut urls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if urls.len() >= MOST {
            urls.clear();
        }
        urls.insert(url.to_owned());
    }

    pub(super) fn has(&self, url: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(url)
    }
}
