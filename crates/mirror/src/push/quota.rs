//! What uploads may use of `push.maxSize`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::incoming::State;
use super::refused::{Reason, Refused};
use crate::words::size;

/// Bytes of one upload, counted against the quota until this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    state: Arc<Mutex<State>>,
    bytes: u64,
    quota: u64,
}

impl Reservation {
    /// Reserves `bytes` of what is not used of `quota`. What is used up wholly takes not even an upload of unknown length.
    pub(super) fn new(state: &Arc<Mutex<State>>, bytes: u64, quota: u64) -> Result<Self, Refused> {
        let mut locked = lock(state);
        let free = quota.saturating_sub(locked.bytes());
        if free == 0 || bytes > free {
            return Err(over(free));
        }
        locked.reserved = locked.reserved.saturating_add(bytes);
        drop(locked);
        Ok(Self { state: Arc::clone(state), bytes, quota })
    }

    /// More came than was announced, or nothing was: `length` bytes are there now.
    pub(super) fn grow(&mut self, length: u64) -> Result<(), Refused> {
        let more = length.saturating_sub(self.bytes);
        if more == 0 {
            return Ok(());
        }
        let mut state = lock(&self.state);
        let free = self.quota.saturating_sub(state.bytes());
        if more > free {
            return Err(over(free));
        }
        state.reserved += more;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.reserved = state.reserved.saturating_sub(self.bytes);
    }
}

/// Each change is whole, so that a thread that panicked left no damage.
pub(super) fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn over(free: u64) -> Refused {
    let message = format!("push.maxSize is used up: {} are left for pushed artifacts", size(free));
    Refused::new(Reason::TooLarge, message)
}
