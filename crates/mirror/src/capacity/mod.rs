//! Room on the disk: before anything is taken in, there has to be enough for all of it, besides what is to stay free.
//!
//! A disk that is too full is not an error of the mirror: it goes on serving, says so, and takes things in again as soon as
//! there is room. Nothing is deleted for lack of room.

mod decide;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, Statvfs, statvfs};
use tokio::sync::Notify;
use tracing::{error, info, warn};

pub use decide::{NoRoom, Rules, Space};

/// How long something that had no room is remembered after it was last asked for: twice as long as passes are apart.
const REMEMBERED: Duration = Duration::from_hours(2);

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
    /// At which look it was known that something has no room; `None`: something has been refused since the last one.
    known: Option<Duration>,
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
    /// them; what would not fit without them either is refused at once. Whoever has a [`Room`] must not wait for another one.
    pub async fn admit(self: &Arc<Self>, bytes: u64, held: impl Fn() -> u64) -> Result<Room, NoRoom> {
        loop {
            let mut ended = std::pin::pin!(self.ended.notified());
            // From here on no end is missed.
            ended.as_mut().enable();
            let rules = self.state().rules;
            match self.try_admit(rules, bytes, held()) {
                Some(result) => return result,
                None => ended.await,
            }
        }
    }

    /// Lets `bytes` in that need not be kept, if there is room for all of it now. Without [`Rules`] it has to fit on the disk:
    /// one that fills up in the middle costs the client its file. Else how many bytes have to leave before it fits; 0 when that
    /// would not help, or is not needed.
    pub fn admit_guest(self: &Arc<Self>, bytes: u64, held: u64) -> Result<Room, u64> {
        let rules = self.state().rules.unwrap_or_default();
        match self.try_admit(Some(rules), bytes, held) {
            Some(Ok(room)) => Ok(room),
            None | Some(Err(NoRoom::ReadOnly)) => Err(0),
            Some(Err(_)) => {
                let space = Space { free: self.free(), held, pending: 0 };
                Err(decide::shortage(&rules, space, bytes))
            }
        }
    }

    /// Whether `bytes` would fit now, beside everything that was let in. Nothing is remembered of it.
    #[must_use]
    pub fn fits(&self, bytes: u64, held: u64) -> bool {
        let free = self.free();
        let state = self.state();
        let space = Space { free, held, pending: state.pending };
        !state.read_only && decide::fits(&state.rules.unwrap_or_default(), space, bytes).is_ok()
    }

    /// `None`: it may fit when the others have ended.
    fn try_admit(
        self: &Arc<Self>,
        rules: Option<Rules>,
        bytes: u64,
        held: u64,
    ) -> Option<Result<Room, NoRoom>> {
        let space = self.look();
        if space.as_ref().is_some_and(is_read_only) {
            self.read_only(true);
        }
        let free = space.as_ref().and_then(free);
        let mut state = self.state();
        if state.read_only {
            return Some(Err(NoRoom::ReadOnly));
        }
        let space = Space { free, held, pending: state.pending };
        let fits = |space| rules.map_or(Ok(()), |rules| decide::fits(&rules, space, bytes));
        match fits(space) {
            Ok(()) => {
                // Something small that fits says nothing about what did not.
                let all = rules.unwrap_or_default();
                if state.full.as_ref().is_some_and(|full| decide::fits(&all, space, full.needed()).is_ok()) {
                    self.has_room(&mut state);
                }
                state.pending = state.pending.saturating_add(bytes);
                Some(Ok(Room { capacity: Arc::clone(self), bytes }))
            }
            Err(_) if fits(Space { pending: 0, ..space }).is_ok() => None,
            Err(reason) => {
                state.known = None;
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

    /// Looks whether there is room again for what had none, or nobody has asked for anything of that kind for long: what a
    /// client asked for, nobody asks for again by himself. `held` is as for [`Self::admit`], `now` the time since the program
    /// started.
    pub fn look_again(&self, held: u64, now: Duration) {
        let Some(needed) = self.state().full.as_ref().map(NoRoom::needed) else { return };
        let free = self.look().as_ref().and_then(free);
        let mut state = self.state();
        let space = Space { free, held, pending: state.pending };
        let fits = decide::fits(&state.rules.unwrap_or_default(), space, needed).is_ok();
        let known = *state.known.get_or_insert(now);
        if fits {
            self.has_room(&mut state);
        } else if now.saturating_sub(known) > REMEMBERED {
            state.full = None;
        }
    }

    fn has_room(&self, state: &mut State) {
        state.full = None;
        info!(directory = %self.directory.display(), "there is room again; taking artifacts in");
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

/// Bytes that may still be written. A filesystem without a single block, such as ramfs, does not count them.
fn free(space: &Statvfs) -> Option<u64> {
    // Their types differ between machines.
    #[allow(clippy::useless_conversion, reason = "only on some machines")]
    let [all, free, size] =
        [space.blocks().into(), space.blocks_available().into(), space.fragment_size().into()];
    if all == 0 { None } else { u64::checked_mul(free, size) }
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
    use futures::FutureExt as _;

    use super::*;

    fn capacity(keep_free: u64, max_size: Option<u64>) -> Arc<Capacity> {
        let capacity = Capacity::of(std::env::temp_dir());
        capacity.limit(Some(Rules { keep_free, max_size }));
        capacity
    }

    #[tokio::test]
    async fn a_guest_has_room_beside_what_was_let_in_and_on_the_disk_itself() {
        let capacity = capacity(0, Some(100));
        let guest = capacity.admit_guest(40, 20).unwrap();
        let wanted = capacity.admit(40, || 20).await.unwrap();
        assert_eq!(capacity.admit_guest(1, 20).unwrap_err(), 0);
        assert_eq!(capacity.full(), None, "it may fit when the others have ended");
        drop(guest);
        let guest = capacity.admit_guest(40, 20).unwrap();
        drop((wanted, guest));
        capacity.limit(None);
        let free = capacity.free().unwrap();
        assert!(capacity.admit(free.saturating_mul(2), || 0).await.is_ok(), "the disk says so itself");
        assert!(capacity.admit_guest(free.saturating_mul(2), 0).is_err() && capacity.full().is_some());
        drop(capacity.admit_guest(1, u64::MAX).unwrap());
        assert!(capacity.full().is_some(), "something small says nothing about it");
        capacity.read_only(true);
        assert_eq!(capacity.admit_guest(0, 0).unwrap_err(), 0, "whoever leaves");
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
    async fn what_would_have_no_room_without_the_others_either_is_refused_at_once() {
        let capacity = capacity(0, Some(100));
        let room = capacity.admit(60, || 30).await.unwrap();
        assert!(capacity.admit(71, || 30).now_or_never().unwrap().is_err());
        assert!(capacity.full().is_some());
        assert!(capacity.admit(70, || 30).now_or_never().is_none(), "it may fit when the other has ended");
        drop(room);
        assert!(capacity.admit(70, || 30).now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn one_that_is_too_large_says_nothing_about_what_is_small() {
        let capacity = capacity(0, Some(100));
        assert_eq!(capacity.admit_guest(200, 50).unwrap_err(), 150);
        assert!(capacity.full().is_some(), "it is told");
        assert!(capacity.fits(50, 50) && !capacity.fits(51, 50));
        let room = capacity.admit_guest(20, 50).unwrap();
        assert!(capacity.fits(30, 50) && !capacity.fits(31, 50), "beside what was let in");
        drop(room);
        capacity.read_only(true);
        assert!(!capacity.fits(0, 0));
    }

    #[tokio::test]
    async fn what_had_no_room_and_is_not_asked_for_again_is_not_remembered_for_ever() {
        let capacity = capacity(0, Some(100));
        let look = |held, hours| capacity.look_again(held, Duration::from_hours(hours));
        assert!(capacity.admit_guest(60, 50).is_err());
        look(50, 1);
        assert!(capacity.full().is_some());
        look(40, 1);
        assert_eq!(capacity.full(), None, "it would have room now");

        assert!(capacity.admit_guest(60, 50).is_err());
        look(50, 10);
        look(50, 12);
        assert!(capacity.admit_guest(60, 50).is_err(), "asked for again");
        look(50, 13);
        look(50, 15);
        assert!(capacity.full().is_some());
        look(50, 16);
        assert_eq!(capacity.full(), None, "nobody wants it any more");

        let room = capacity.admit_guest(60, 0).unwrap();
        assert_eq!(capacity.admit_guest(60, 0).unwrap_err(), 0, "it does not wait, and nobody has to leave");
        assert_eq!(capacity.full(), None);
        drop(room);
        assert!(capacity.admit_guest(60, 0).is_ok());
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
