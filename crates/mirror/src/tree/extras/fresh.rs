//! What was published a moment ago, for whoever completes it.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use granary_nix::HashPart;
use tokio::sync::Notify;

use crate::tree::Tree;

/// Artifacts that wait at most. What does not fit is not lost: everything is looked at from time to time.
const MOST: usize = 65_536;

/// A queue of artifacts.
#[derive(Debug, Default)]
pub(in crate::tree) struct Fresh {
    queue: Mutex<VecDeque<HashPart>>,
    more: Notify,
}

impl Fresh {
    pub(in crate::tree) fn add(&self, hash: HashPart) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() == MOST {
            queue.pop_front();
        }
        queue.push_back(hash);
        self.more.notify_one();
    }

    fn take(&self) -> Option<HashPart> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Tree {
    /// The eldest artifact that was published since this process began and has not been asked for here. In memory.
    #[must_use]
    pub fn take_fresh(&self) -> Option<HashPart> {
        self.beside.fresh.take()
    }

    /// The same; waits for it. For one waiter.
    pub async fn next_fresh(&self) -> HashPart {
        loop {
            if let Some(hash) = self.beside.fresh.take() {
                return hash;
            }
            self.beside.fresh.more.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: usize) -> HashPart {
        format!("{number:0>32}").parse().unwrap()
    }

    #[test]
    fn the_eldest_comes_first_and_the_queue_is_bounded() {
        let fresh = Fresh::default();
        (0..MOST + 3).for_each(|number| fresh.add(hash(number)));
        assert_eq!(fresh.take(), Some(hash(3)));
        let left = std::iter::from_fn(|| fresh.take()).count();
        assert_eq!(left, MOST - 1);
    }
}
