//! What has to be done from time to time: reading what clients had, making room, forgetting what nobody can ask for any more.

use std::path::{Path, PathBuf};
use std::time::Duration;

use granary_nix::HashPart;
use tokio::time::{Instant, sleep};

use super::Through;
use super::access::{Had, Hour, parse};
use crate::compact::HashParts;
use crate::front::take_record;
use crate::tree::TreeError;

/// How often nginx's record is read.
const READ_EVERY: Duration = Duration::from_secs(10);
/// Readings between two looks at the room.
const ROOM: u32 = 6;
/// Readings between two times that the accesses are written.
const WRITE: u32 = 60;
/// Readings between two looks at what can be forgotten.
const FORGET: u32 = 360;
/// How long a client may ask for a NAR that it was told of, and a day more.
const ANSWERED: Hour = 31 * 24;
/// Narinfos of guests that are kept.
const MOST_GUESTS: usize = 1_000_000;

impl Through {
    /// Does it until the agent stops. `front`: the directory of nginx's files.
    pub async fn upkeep(self, front: PathBuf) {
        let (mut round, began): (u32, _) = (0, Instant::now());
        self.time_passes(Duration::ZERO);
        while self.0.stop.run_until_cancelled(sleep(READ_EVERY)).await.is_some() {
            round = round.wrapping_add(1);
            self.time_passes(began.elapsed());
            self.blocking("read what clients had", {
                let front = front.clone();
                move |through| through.read_record(&front)
            })
            .await;
            if round.is_multiple_of(ROOM) {
                self.make_room().await;
            }
            if round.is_multiple_of(FORGET) {
                let _held = self.0.closures.catalog.lock().await;
                self.blocking("forget what nobody can ask for", Self::forget).await;
            }
            if round.is_multiple_of(WRITE) {
                self.blocking("write when clients had what", |through| through.write_accesses(false)).await;
            }
        }
        self.blocking("read what clients had", move |through| through.read_record(&front)).await;
        self.blocking("write when clients had what", |through| through.write_accesses(true)).await;
    }

    /// Time passes; `now` is time since the program started. By this alone things grow old: a clock on the wall may jump.
    pub fn time_passes(&self, now: Duration) {
        self.0.accesses.count(now);
    }

    /// A client has it now.
    pub(super) fn note(&self, hash: HashPart) {
        self.0.accesses.note(hash);
    }

    async fn blocking(
        &self,
        what: &'static str,
        work: impl FnOnce(&Self) -> Result<(), TreeError> + Send + 'static,
    ) {
        let through = self.clone();
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || work(&through)).await {
            tracing::warn!(%error, "cannot {what}");
        }
    }

    /// Notes what nginx has written down.
    pub fn read_record(&self, front: &Path) -> Result<(), TreeError> {
        let record = take_record(front).map_err(TreeError::io("read", &crate::front::record_path(front)))?;
        for had in parse(&record) {
            let hash = match had {
                Had::NarInfo(hash) => Some(hash),
                Had::Nar(file) => self.0.tree.find_nar(file).map(|known| known.hash_part),
            };
            if let Some(hash) = hash.filter(|hash| self.0.tree.in_catalog(hash) || self.0.tree.holds(hash)) {
                self.note(hash);
            }
        }
        Ok(())
    }

    fn write_accesses(&self, ends: bool) -> Result<(), TreeError> {
        let Some(text) = self.0.accesses.to_keep(ends) else { return Ok(()) };
        self.0.tree.keep_below(&self.0.tree.layout().accesses(), text.as_bytes())
    }

    /// Removes narinfos from the catalog that only guests needed whom no client has asked for in a month. What is published
    /// stays, and what anything that stays refers to. The catalog must not be written meanwhile.
    pub fn forget(&self) -> Result<(), TreeError> {
        let (tree, now) = (&*self.0.tree, self.0.accesses.now());
        let Some(wanted) = self.0.wants.now() else { return Ok(()) };
        let all = tree.catalog_hashes();
        let mut guests: Vec<(Hour, HashPart)> = Vec::new();
        let mut kept = HashParts::with_capacity(all.len());
        for hash in &all {
            if wanted.has(hash) || tree.holds(hash) {
                kept.insert(*hash);
            } else {
                guests.push((self.0.accesses.last(hash), *hash));
            }
        }
        guests.retain(|(accessed, _)| now.saturating_sub(*accessed) < ANSWERED);
        guests.sort_unstable_by(|one, other| other.cmp(one));
        guests.truncate(MOST_GUESTS);
        kept.extend(guests.iter().map(|(_, hash)| *hash));
        if kept.len() < all.len() {
            let forgotten = tree.prune_catalog(&tree.closed(kept))?;
            tracing::info!(forgotten, "narinfos that no client can go by any more are forgotten");
        }
        self.0.accesses.keep_only(&all.into_iter().collect());
        Ok(())
    }
}
