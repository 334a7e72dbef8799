//! What becomes of a NAR file that has come whole and is verified: it is published, if its closure is in the catalog and
//! there is room, which is made where there is none.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use granary_fetch::Expected;
use granary_nix::{Hash, HashPart, StorePath};
use jiff::Timestamp;
use tokio::time::Instant;

use super::flight::Obtained;
use super::reclaim::{Guest, choose};
use super::{Through, lock};
use crate::capacity::Room;
use crate::journal;
use crate::tree::{Contents, Tree, TreeError};
use crate::wants::Wanted;

/// How much more than needed is made free, as a part of the whole, so that not everything that comes has something leave.
const SLACK: u64 = 50;
/// Guests that leave at once: a process that ends in between leaves no more than these in the trash.
const AT_ONCE: usize = 64;
/// Files that had no room which are remembered, until room is made.
const MOST_REFUSED: usize = 64;

/// The room for what is kept only because a client asked for it.
#[derive(Debug)]
pub(super) struct Space {
    /// Bytes.
    max: u64,
    /// Whose disk it is.
    tree: Arc<Tree>,
    /// Bytes of what is under way.
    reserved: Arc<Mutex<u64>>,
    /// What had no room on the disk, or by the rules for all of it: how many bytes were lacking, and which file it was.
    refused: Mutex<BTreeMap<u64, Option<Hash>>>,
    /// Held while room is made.
    making: tokio::sync::Mutex<()>,
}

/// Room for one NAR file, given back when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    bytes: u64,
    reserved: Arc<Mutex<u64>>,
    /// On the disk, until the file is there.
    room: Option<Room>,
}

impl Space {
    pub(super) fn new(max: u64, tree: Arc<Tree>) -> Self {
        let (reserved, refused, making) = (Arc::default(), Mutex::default(), tokio::sync::Mutex::default());
        Self { max, tree, reserved, refused, making }
    }

    /// A right to all the bytes that such a file may have, if there are as many beside what is under way, and on the disk.
    /// Guests make place for it among each other; the disk must have it now, because the file is there before anybody leaves.
    /// What it lacks is remembered, so that guests leave for who asks again.
    pub(super) fn reserve(&self, expected: &Expected) -> Option<Reservation> {
        let bytes = expected.most_bytes();
        // What is larger than everything that may be here says nothing about the disk.
        if bytes > self.max {
            return None;
        }
        let here = expected.file_hash.map_or(0, |key| self.tree.partial_bytes(&key));
        let room = match self.tree.admit_guest(bytes, here.min(bytes)) {
            Ok(room) => room,
            Err(0) => return None,
            Err(lacking) => {
                let mut refused = lock(&self.refused);
                refused.insert(lacking, expected.file_hash);
                if refused.len() > MOST_REFUSED {
                    refused.pop_last();
                }
                return None;
            }
        };
        let mut reserved = lock(&self.reserved);
        *reserved = reserved.checked_add(bytes).filter(|after| *after <= self.max)?;
        Some(Reservation { bytes, reserved: Arc::clone(&self.reserved), room: Some(room) })
    }

    /// How many bytes have to leave for what had no room since the last call, with guests of so many: for the largest for
    /// which that is enough. What came in part leaves before them.
    fn lacking(&self, guests: u64) -> u64 {
        let refused = std::mem::take(&mut *lock(&self.refused));
        let Some(first) = refused.values().next() else { return 0 };
        // The one that lacks the least goes on with what came of it, when there is room.
        let freed = self.tree.give_up_partials(first.as_ref());
        lacking(refused.into_keys(), freed, guests)
    }

    /// How many bytes too many there are, with guests of so many.
    fn over(&self, guests: u64) -> u64 {
        guests.saturating_add(*lock(&self.reserved)).saturating_sub(self.max)
    }
}

/// The most of these that guests of so many bytes can make up for, beside what is free by now.
fn lacking(refused: impl Iterator<Item = u64>, freed: u64, guests: u64) -> u64 {
    refused
        .map(|lacking| lacking.saturating_sub(freed))
        .filter(|lacking| *lacking <= guests)
        .max()
        .unwrap_or(0)
}

impl Reservation {
    /// The file is on the disk, which counts it from now on: others need not wait until it is published.
    fn written(&mut self) {
        self.room = None;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut reserved = lock(&self.reserved);
        *reserved = reserved.saturating_sub(self.bytes);
    }
}

impl Through {
    /// Publishes what a flight has brought that began at `began`.
    pub(super) async fn keep(&self, obtained: Obtained, mut room: Reservation, began: Instant) {
        room.written();
        let Obtained { info, verified, file, source } = obtained;
        let (path, bytes) = (info.store_path.clone(), verified.file_size);
        if let Err(why) = self.gather(path.hash_part()).await {
            tracing::info!(%path, %why, "passed on, and not kept");
            return;
        }
        if !self.make_room().await {
            tracing::info!(%path, bytes, "passed on, and not kept: there is no room");
            return;
        }
        let contents = Contents { file_hash: verified.file_hash, file_size: verified.file_size };
        // Before it is seen in the tree, where others look for room.
        self.note(path.hash_part());
        let through = self.clone();
        let publish = move || through.0.tree.publish(&info, &contents, file);
        match tokio::task::spawn_blocking(publish).await {
            Ok(Ok(())) => {
                journal::published(&path, bytes, &source, began.elapsed());
                self.0.metrics.kept(bytes);
            }
            Ok(Err(error)) => tracing::error!(%path, %error, "passed on, and not kept"),
            Err(error) => tracing::error!(%path, %error, "passed on, and not kept"),
        }
        drop(room);
    }

    /// Makes room for what is under way, and for what had none; whether there is enough for what is under way.
    pub async fn make_room(&self) -> bool {
        let _one = self.0.space.making.lock().await;
        let through = self.clone();
        match tokio::task::spawn_blocking(move || through.reclaim()).await {
            Ok(Ok(enough)) => enough,
            Ok(Err(error)) => {
                tracing::error!(%error, "no room can be made");
                false
            }
            Err(_) => false,
        }
    }

    /// Takes out the guests that clients have not asked for the longest, as many as are too many.
    fn reclaim(&self) -> Result<bool, TreeError> {
        let (tree, space) = (&self.0.tree, &self.0.space);
        let Some(wanted) = self.0.wants.now() else {
            // Whose things those are is not known, and so none leaves.
            return Ok(space.over(tree.totals().bytes) == 0);
        };
        let mut guests = tree.all_published();
        // What was pushed or imported is marked, and no guest either.
        guests.retain(|(hash, _)| !wanted.has(hash) && !tree.is_kept(hash));
        // Even when nobody leaves: a restart must not forget which accesses were lost by the one before.
        self.0.accesses.make_up(guests.iter().map(|(hash, published)| (*hash, published.at)));
        let bytes: u64 = guests.iter().map(|(_, published)| published.file_size).sum();
        self.0.metrics.guests(guests.len(), bytes);
        self.empty_trash(&wanted);
        let (over, lacking) = (space.over(bytes), space.lacking(bytes));
        if over == 0 && lacking == 0 {
            return Ok(true);
        }
        let guest = |(hash, published): &(HashPart, crate::tree::Published)| {
            let guest = Guest {
                bytes: published.file_size,
                accessed: self.0.accesses.of_guest(hash),
                published: published.at.map_or(0, Timestamp::as_second),
                referrers: tree.referrers(hash),
            };
            (*hash, guest)
        };
        let guests: HashMap<HashPart, Guest> = guests.iter().map(guest).collect();
        let needed = over.max(lacking).saturating_add(space.max.min(bytes) / SLACK);
        let leaving = choose(guests, needed, |hash| {
            let references = tree.published_narinfo(hash).map(|info| info.references).unwrap_or_default();
            references.iter().map(StorePath::hash_part).collect()
        });
        let size = |hash: &HashPart| tree.file_size(hash).unwrap_or_default();
        if over == 0 && leaving.iter().map(size).sum::<u64>() < lacking {
            // Others that stay need too many of them: nobody leaves in vain.
            return Ok(true);
        }
        let mut freed = 0;
        for some in leaving.chunks(AT_ONCE) {
            let sizes: HashMap<&HashPart, u64> = some.iter().map(|hash| (hash, size(hash))).collect();
            for hash in tree.remove_all(some)? {
                // The catalog still has its narinfo, by which it is had again for who asks.
                tree.remove_from_trash(&hash)?;
                let bytes = sizes.get(&hash).copied().unwrap_or_default();
                freed += bytes;
                self.0.metrics.reclaimed(bytes);
            }
        }
        tracing::info!(artifacts = leaving.len(), bytes = freed, "guests left, to make room");
        Ok(freed >= over)
    }

    /// Removes guests that a process which ended in the middle had taken out: nothing else looks after the trash where clients
    /// decide what is here. The catalog still answers for them.
    fn empty_trash(&self, wanted: &Wanted) {
        let tree = &self.0.tree;
        for (hash, _) in tree.trashed() {
            if !tree.in_catalog(&hash) || wanted.has(&hash) {
                continue;
            }
            match tree.remove_from_trash(&hash) {
                // Of the disk that is told, and once.
                Err(error) if error.is_read_only() => return,
                Err(error) => {
                    tracing::warn!(artifact = %hash, %error, "a guest that left cannot be removed from the trash");
                }
                Ok(()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_made_for_the_largest_that_guests_can_make_up_for() {
        let of = |refused: &[u64], freed, guests| lacking(refused.iter().copied(), freed, guests);
        assert_eq!((of(&[], 0, 9), of(&[3, 7, 20], 0, 9), of(&[20], 0, 9)), (0, 7, 0));
        assert_eq!((of(&[20], 11, 9), of(&[3], 5, 9)), (9, 0), "what is free by now need not leave");
    }
}
