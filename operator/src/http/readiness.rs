//! What this replica waits for before it is ready.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// A list of reasons not to be ready.
#[derive(Debug, Default)]
pub struct Readiness {
    waiting: Mutex<BTreeSet<String>>,
}

impl Readiness {
    /// Adds or removes a reason.
    pub fn set(&self, reason: &str, waiting: bool) {
        let mut list = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting {
            list.insert(reason.to_owned());
        } else {
            list.remove(reason);
        }
    }

    /// The reasons that stand.
    #[must_use]
    pub fn waiting(&self) -> Vec<String> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
