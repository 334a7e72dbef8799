//! Taking published artifacts out.
//!
//! The order is that of publishing, backwards. First the files beside the artifact go, for good. Then a copy of the narinfo
//! goes to the trash, which says that the artifact is leaving; then the narinfo is removed; then the NAR file is moved to the trash, unless another artifact has it too.
//! Each step lasts before the next begins. A process that ends in between is followed by one that goes on at its start.

use std::collections::{HashMap, HashSet};

use granary_nix::{HashPart, NarInfo, StorePath};

use super::durable::{read_narinfo, sync_directory};
use super::index::Held;
use super::order::references_first;
use super::trash::is_file;
use super::{Tree, TreeError, disk, read, write};

/// One that leaves.
struct Leaving {
    hash: HashPart,
    held: Held,
    info: NarInfo,
}

impl Tree {
    /// Takes a published artifact out, into the trash. Refused while another published artifact refers to it.
    pub fn remove(&self, hash: &HashPart) -> Result<(), TreeError> {
        let artifact = *hash;
        if !self.holds(hash) {
            return Err(TreeError::NotThere { artifact, place: "published" });
        }
        if self.remove_all(&[artifact])?.is_empty() {
            return Err(TreeError::Referred { artifact, referrers: self.referrers(hash) });
        }
        Ok(())
    }

    /// Takes published artifacts out, into the trash: those of `hashes` to which nothing refers that stays. Which ones
    /// they were, in the order in which they went, referrers first. Costs a few syncs however many they are.
    ///
    /// What has the mark of something that is kept stays, whoever asks. What an artifact's narinfo does not tell any more,
    /// because it cannot be read, is left where it is.
    pub fn remove_all(&self, hashes: &[HashPart]) -> Result<Vec<HashPart>, TreeError> {
        let _nothing_comes = write(&self.gate);
        let leaving = self.leaving(hashes);
        if leaving.is_empty() {
            return Ok(Vec::new());
        }
        self.remove_extras(leaving.iter().map(|leaving| &leaving.info))?;
        let copies = leaving
            .iter()
            .map(|Leaving { hash, info, .. }| (self.layout.trash_narinfo(hash), info.to_text()));
        self.scratch.place_all(&self.layout.trash(), copies)?;
        for Leaving { hash, held, info } in &leaving {
            let path = self.layout.narinfo(hash);
            disk::remove(&path).map_err(TreeError::io("remove", &path))?;
            write(&self.trash).insert(*hash, *held, info);
            write(&self.index).remove(hash);
        }
        sync_directory(self.layout.directory())?;
        self.move_nars(leaving.iter().map(|leaving| leaving.held))?;
        Ok(leaving.into_iter().map(|leaving| leaving.hash).collect())
    }

    /// What a process that ended in the middle of a removal left to do.
    pub(super) fn finish_removals(&self) -> Result<(), TreeError> {
        let (trashed, mut left) = (self.trashed(), Vec::new());
        for (hash, _) in trashed {
            if self.holds(&hash) {
                // It did not come to that, or it has been published again since.
                self.drop_from_trash(&hash);
            } else if let Some(held) = read(&self.trash).kept(&hash).copied() {
                left.push(held);
            }
        }
        self.move_nars(left.into_iter())
    }

    /// Those of `hashes` that can leave, referrers first.
    fn leaving(&self, hashes: &[HashPart]) -> Vec<Leaving> {
        let read_one = |hash: &HashPart| {
            let held = read(&self.index).get(hash)?;
            let info = read_narinfo(&self.layout.narinfo(hash))?;
            (info.store_path.hash_part() == *hash).then_some(Leaving { hash: *hash, held, info })
        };
        let loose = hashes.iter().filter(|hash| !self.is_kept(hash));
        let mut all: HashMap<HashPart, Leaving> =
            loose.filter_map(|hash| Some((*hash, read_one(hash)?))).collect();
        let order = references_first(&all.keys().copied().collect(), |hash| {
            let references =
                all.get(hash).map(|leaving| leaving.info.references.as_slice()).unwrap_or_default();
            references.iter().map(StorePath::hash_part).collect::<Vec<_>>()
        });
        let mut gone: HashMap<HashPart, u32> = HashMap::new();
        let mut leaving = Vec::with_capacity(all.len());
        for hash in order.into_iter().rev() {
            let leave = self.referrers(&hash) <= gone.get(&hash).copied().unwrap_or_default();
            let Some(one) = all.remove(&hash).filter(|_| leave) else { continue };
            let references: HashSet<HashPart> =
                one.info.references.iter().map(StorePath::hash_part).collect();
            for reference in references.into_iter().filter(|reference| *reference != hash) {
                *gone.entry(reference).or_default() += 1;
            }
            leaving.push(one);
        }
        leaving
    }

    /// Moves NAR files that nothing published has any more to the trash, for good.
    fn move_nars(&self, all: impl Iterator<Item = Held>) -> Result<(), TreeError> {
        let mut moved = false;
        for held in all.filter(|held| read(&self.index).sharing(held) == 0) {
            let name = held.nar_name();
            let (from, to) = (self.layout.served(&name), self.layout.trash_served(&name));
            if is_file(&from) {
                disk::rename(&from, &to).map_err(TreeError::io("move to the trash", &from))?;
                moved = true;
            }
        }
        if moved {
            sync_directory(&self.layout.trash_nars())?;
            sync_directory(&self.layout.nars())?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
