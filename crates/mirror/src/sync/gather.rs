//! When a batch is published. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// Artifacts that are published together, at most.
pub(super) const AT_ONCE: usize = 256;

/// How long the next batch gathers: whatever there is in one, it costs some syncs of the disk.
const PAUSE: Duration = Duration::from_millis(500);

/// Between two batches.
#[derive(Debug)]
pub(super) struct Gather {
    /// When the next one may leave, whatever is in it.
    until: Instant,
}

impl Gather {
    /// The first batch may leave at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { until: now }
    }

    /// Whether a batch should leave now, with so many artifacts whole, and so many on their way here.
    pub(super) fn is_due(&self, now: Instant, whole: usize, coming: usize) -> bool {
        whole > 0 && (coming == 0 || whole >= AT_ONCE || now >= self.until)
    }

    /// A batch has left, or there was nothing that could.
    pub(super) fn left(&mut self, now: Instant) {
        self.until = now + PAUSE;
    }

    /// Waits until there is a batch that has gathered for long enough.
    pub(super) async fn pause(&self) {
        tokio::time::sleep_until(self.until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_leaves_when_it_is_full_or_old_or_nothing_more_comes() {
        let begin = Instant::now();
        let mut gather = Gather::new(begin);
        assert!(gather.is_due(begin, 1, 9), "the first one");
        gather.left(begin);
        let soon = begin + PAUSE / 2;
        assert!(!gather.is_due(soon, AT_ONCE - 1, 1));
        assert!(gather.is_due(soon, 1, 0), "nothing more comes");
        assert!(gather.is_due(soon, AT_ONCE, 1), "it is full");
        assert!(gather.is_due(begin + PAUSE, 1, 1), "it is old");
        assert!(!gather.is_due(begin + PAUSE, 0, 0), "there is nothing");
    }
}
