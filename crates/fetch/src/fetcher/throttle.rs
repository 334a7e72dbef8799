//! Waiting for one's turn at the rates that hold for a transfer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::bucket::{Bucket, TURN};

/// The clock of a sleep has this grain; shorter waits are owed, and are paid with the next.
const GRAIN: Duration = Duration::from_millis(1);

/// A rate that several transfers share.
#[derive(Debug)]
pub(super) struct Throttle(Mutex<Bucket>);

impl Throttle {
    pub(super) fn new(bytes_per_second: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Bucket::new(bytes_per_second, Instant::now()))))
    }

    fn take(&self, bytes: u64, now: Instant) -> Duration {
        // Each change is one assignment, so that a thread that panicked left no damage.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take(bytes, now)
    }
}

/// Waits until `bytes` may pass by all of these rates.
pub(super) async fn pass(throttles: &[Arc<Throttle>], bytes: usize) {
    if throttles.is_empty() {
        return;
    }
    let mut left = bytes as u64;
    while left > 0 {
        let turn = left.min(TURN);
        let now = Instant::now();
        let wait = throttles.iter().map(|throttle| throttle.take(turn, now)).max().unwrap_or_default();
        if wait >= GRAIN {
            tokio::time::sleep(wait).await;
        }
        left -= turn;
    }
}
