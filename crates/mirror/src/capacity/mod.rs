//! Room on the disk: before anything is taken in, there has to be enough for all of it, besides what is to stay free.
//!
//! A disk that is too full is not an error of the mirror: it goes on serving, says so, and takes things in again as soon as
//! there is room. Nothing is deleted for lack of room.

mod decide;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::statvfs::{FsFlags, Statvfs, statvfs};
use tokio::sync::Notify;
use tracing::{error, info, warn};

pub use decide::{NoRoom, Rules, Space};

/// Watches over one directory. Without [`Rules`] everything is let in, and the disk says when it is full.
#[derive(Debug)]
pub struct Capacity {
    directory: PathBuf,
    state: Mutex<State>,
    /// Something that was let in has ended.
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    rules: Option<Rules>,
    /// Bytes of what was let in and has not ended.
    pending: u64,
    /// The smallest that was not let in, until there is room for it.
    full: Option<NoRoom>,
    /// Whether the disk takes nothing in.
    read_only: bool,
}

/// The right to write so many bytes, until it is dropped: when they are written, and the filesystem counts them, or when
/// they will never be.
pub struct Room {
    capacity: Arc<Capacity>,
    bytes: u64,
}

impl Capacity {
    /// Of the filesystem of this directory.
    #[must_use]
    pub fn of(directory: PathBuf) -> Arc<Self> {
        Arc::new(Self { directory, state: Mutex::default(), ended: Notify::new() })
    }

    /// Sets what has to stay free.
    pub fn limit(&self, rules: Option<Rules>) {
        self.state().rules = rules;
    }

    /// Lets `bytes` in, or says why not. `held` is how many bytes of NAR files are there; a size that is only a bound
    /// counts in full. When it is only for lack of room that others were given who have not written yet, this waits for
    /// them. Whoever has a [`Room`] must not wait for another one.
    pub async fn admit(self: &Arc<Self>, bytes: u64, held: impl Fn() -> u64) -> Result<Room, NoRoom> {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // From here on no end is missed.
            ended.as_mut().enable();
            match self.try_admit(bytes, held()) {
                Some(result) => return result,
                None => ended.await,
            }
        }
    }

    /// Lets `bytes` in that need not be kept, if there is room for all of it now. Without [`Rules`] it has to fit on the disk:
    /// one that fills up in the middle costs the client its file. That there is no room says nothing about what is wanted here,
    /// and is not told by [`Self::full`].
    pub fn admit_guest(self: &Arc<Self>, bytes: u64, held: u64) -> Result<Room, NoRoom> {
        let free = self.look().as_ref().and_then(free);
        let mut state = self.state();
        if state.read_only {
            return Err(NoRoom::ReadOnly);
        }
        let space = Space { free, held, pending: state.pending };
        decide::fits(&state.rules.unwrap_or_default(), space, bytes)?;
        state.pending = state.pending.saturating_add(bytes);
        Ok(Room { capacity: Arc::clone(self), bytes })
    }

    /// `None`: it may fit when the others have ended.
    fn try_admit(self: &Arc<Self>, bytes: u64, held: u64) -> Option<Result<Room, NoRoom>> {
        let space = self.look();
        if space.as_ref().is_some_and(is_read_only) {
            self.read_only(true);
        }
        let free = space.as_ref().and_then(free);
        let mut state = self.state();
        if state.read_only {
            return Some(Err(NoRoom::ReadOnly));
        }
        let rules = state.rules;
        let space = Space { free, held, pending: state.pending };
        let fits = |bytes| rules.map_or(Ok(()), |rules| decide::fits(&rules, space, bytes));
        match fits(bytes) {
            Ok(()) => {
                // Something small that fits says nothing about what did not.
                if state.full.as_ref().is_some_and(|full| fits(full.needed()).is_ok()) {
                    state.full = None;
                    info!(directory = %self.directory.display(), "there is room again; taking artifacts in");
                }
                state.pending = state.pending.saturating_add(bytes);
                Some(Ok(Room { capacity: Arc::clone(self), bytes }))
            }
            Err(_) if state.pending > 0 => None,
            Err(reason) => {
                if state.full.is_none() {
                    warn!(directory = %self.directory.display(), %reason, "not taking in what has no room, and serving on");
                }
                if state.full.as_ref().is_none_or(|full| reason.needed() <= full.needed()) {
                    state.full = Some(reason.clone());
                }
                Some(Err(reason))
            }
        }
    }

    /// Why something was not let in, which would not be now either; of several the smallest.
    #[must_use]
    pub fn full(&self) -> Option<NoRoom> {
        let state = self.state();
        if state.read_only { Some(NoRoom::ReadOnly) } else { state.full.clone() }
    }

    /// Whether the disk takes nothing in, as far as is known. In memory.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.state().read_only
    }

    /// Whether the filesystem is mounted so that nothing can be written to it. One that is not may take nothing in all the
    /// same, after an error.
    #[must_use]
    pub fn is_mounted_read_only(&self) -> bool {
        self.look().as_ref().is_some_and(is_read_only)
    }

    /// Notes whether the disk takes nothing in, and tells when that is new.
    pub(crate) fn read_only(&self, read_only: bool) {
        let before = std::mem::replace(&mut self.state().read_only, read_only);
        let directory = self.directory.display();
        match (before, read_only) {
            (false, true) => {
                error!(%directory, "the disk is read-only: serving what is there, and taking nothing in");
            }
            (true, false) => info!(%directory, "the disk can be written to again; taking artifacts in"),
            _ => {}
        }
    }

    /// Bytes that may still be written; `None` when the filesystem does not say.
    #[must_use]
    pub fn free(&self) -> Option<u64> {
        self.look().as_ref().and_then(free)
    }

    fn look(&self) -> Option<Statvfs> {
        statvfs(&self.directory).ok()
    }

    /// Whoever waits may try again.
    fn end(&self, bytes: u64) {
        let mut state = self.state();
        state.pending = state.pending.saturating_sub(bytes);
        drop(state);
        self.ended.notify_waiters();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that may still be written.
fn free(space: &Statvfs) -> Option<u64> {
    // Their types differ between machines.
    #[allow(clippy::useless_conversion, reason = "only on some machines")]
    let (blocks, size) = (u64::from(space.blocks_available()), u64::from(space.fragment_size()));
    blocks.checked_mul(size)
}

fn is_read_only(space: &Statvfs) -> bool {
    space.flags().contains(FsFlags::ST_RDONLY)
}

impl Drop for Room {
    fn drop(&mut self) {
        self.capacity.end(self.bytes);
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capacity(keep_free: u64, max_size: Option<u64>) -> Arc<Capacity> {
        let capacity = Capacity::of(std::env::temp_dir());
        capacity.limit(Some(Rules { keep_free, max_size }));
        capacity
    }

    #[tokio::test]
    async fn a_guest_has_room_beside_what_was_let_in_and_makes_nothing_full() {
        let capacity = capacity(0, Some(100));
        let guest = capacity.admit_guest(40, 20).unwrap();
        assert!(capacity.admit_guest(41, 20).is_err() && capacity.full().is_none());
        let wanted = capacity.admit(40, || 20).await.unwrap();
        assert!(capacity.admit_guest(1, 20).is_err());
        drop(guest);
        let guest = capacity.admit_guest(40, 20).unwrap();
        drop((wanted, guest));
        capacity.limit(None);
        let free = capacity.free().unwrap();
        assert!(capacity.admit_guest(free.saturating_mul(2), 0).is_err(), "the disk itself bounds it");
        drop(capacity.admit_guest(1, u64::MAX).unwrap());
        capacity.read_only(true);
        assert_eq!(capacity.admit_guest(0, 0).unwrap_err(), NoRoom::ReadOnly);
    }

    #[tokio::test]
    async fn what_was_let_in_counts_until_it_is_dropped() {
        let capacity = capacity(0, Some(100));
        let room = capacity.admit(60, || 0).await.unwrap();
        let second = tokio::spawn({
            let capacity = Arc::clone(&capacity);
            async move { capacity.admit(60, || 0).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!second.is_finished(), "it waits for the first, and is not refused");
        drop(room);
        second.await.unwrap().unwrap();
        assert_eq!(capacity.full(), None);
        let error = capacity.admit(101, || 0).await.unwrap_err();
        assert_eq!(capacity.full(), Some(error));
        capacity.admit(100, || 0).await.unwrap();
        assert!(capacity.full().is_some(), "something smaller had room");
        capacity.limit(Some(Rules { keep_free: 0, max_size: Some(101) }));
        capacity.admit(1, || 0).await.unwrap();
        assert_eq!(capacity.full(), None, "it recovers by itself");
    }

    #[tokio::test]
    async fn a_disk_that_takes_nothing_in_has_no_room_and_says_why() {
        let capacity = Capacity::of(std::env::temp_dir());
        capacity.read_only(true);
        assert_eq!(capacity.admit(0, || 0).await.unwrap_err(), NoRoom::ReadOnly);
        assert!(capacity.full().unwrap().to_string().contains("read-only"));
        capacity.read_only(false);
        capacity.admit(0, || 0).await.unwrap();
        assert_eq!(capacity.full(), None);
        // Nobody can write there, and the mount says so.
        let proc = Capacity::of("/sys/fs/cgroup/no/such".into());
        assert!(!proc.is_mounted_read_only(), "what is not there is no read-only disk");
    }

    #[tokio::test]
    async fn without_rules_everything_is_let_in() {
        let capacity = Capacity::of("/nonexistent/directory".into());
        capacity.admit(u64::MAX, || u64::MAX).await.unwrap();
        assert_eq!(capacity.free(), None);
    }
}
