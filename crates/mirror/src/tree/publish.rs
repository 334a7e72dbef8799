//! Making artifacts visible.

use std::collections::HashSet;
use std::sync::Arc;

use granary_nix::{Hash, HashPart, NarInfo, StorePath};
use jiff::Timestamp;

use super::batch::Batch;
use super::durable::{rename, sync_all, sync_directory};
use super::index::Held;
use super::{TempFile, Tree, TreeError, canonical, disk, read, write};

/// What was found in a NAR file, which is what its narinfo then says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// SHA-256 of its bytes.
    pub file_hash: Hash,
    /// How many there are.
    pub file_size: u64,
}

/// An artifact whose signature, hashes and sizes have been verified.
#[derive(Debug)]
pub struct Publication {
    /// Its narinfo, in whatever form it came.
    pub info: Arc<NarInfo>,
    /// What was found in its NAR file.
    pub contents: Contents,
    /// The NAR file, whole; it need not be synced.
    pub nar: TempFile,
}

/// One that is on its way.
struct Entry {
    info: NarInfo,
    hash: HashPart,
    text: String,
    nar: Option<TempFile>,
    narinfo: Option<TempFile>,
}

impl Entry {
    fn new(publication: Publication) -> Self {
        let Publication { info, contents, nar } = publication;
        let info = canonical(&info, Some(&contents));
        let (hash, text) = (info.store_path.hash_part(), info.to_text());
        Self { info, hash, text, nar: Some(nar), narinfo: None }
    }
}

impl Tree {
    /// Publishes one artifact, see [`Self::publish_all`].
    pub fn publish(&self, info: &NarInfo, contents: &Contents, nar: TempFile) -> Result<(), TreeError> {
        let publication = Publication { info: Arc::new(info.clone()), contents: *contents, nar };
        self.publish_all(vec![publication]).into_iter().collect()
    }

    /// Publishes artifacts, which come references before referrers: syncs their NAR files, gives these their names, writes
    /// the narinfos, in our form, and gives these theirs, in order. Each step lasts before the next begins, for all of them
    /// at once. What became of each, in order; `Ok` means that it survives a power cut from now on.
    ///
    /// One that has a reference which is neither published, nor in the catalog, nor published before it in this call,
    /// fails, and nothing of it is visible.
    pub fn publish_all(&self, publications: Vec<Publication>) -> Vec<Result<(), TreeError>> {
        // Nothing is taken out meanwhile: neither a reference, nor a NAR file that another artifact has too.
        let _nothing_leaves = read(&self.gate);
        let layout = &self.layout;
        let mut batch = Batch::new(publications.into_iter().map(Entry::new));
        let mut earlier = HashSet::new();
        batch.each(|entry| {
            self.may_follow(entry, &earlier)?;
            if let Some(nar) = &entry.nar {
                disk::set_nar_time(nar.path()).map_err(TreeError::io("set the time of", nar.path()))?;
            }
            earlier.insert(entry.hash);
            Ok(())
        });
        batch.together(|entries| sync_all(entries.iter().filter_map(|entry| entry.nar.as_ref())));
        batch.each(|entry| match entry.nar.take() {
            Some(nar) => rename(nar, &layout.served(&entry.info.url)),
            None => Ok(()),
        });
        batch.each(|entry| {
            entry.narinfo = Some(self.scratch.put(entry.text.as_bytes())?);
            Ok(())
        });
        batch.together(|entries| {
            sync_all(entries.iter().filter_map(|entry| entry.narinfo.as_ref()))?;
            sync_directory(&layout.nars())
        });
        // Some may have failed meanwhile, and what references them may not become visible.
        earlier.clear();
        batch.each(|entry| {
            self.may_follow(entry, &earlier)?;
            if let Some(narinfo) = entry.narinfo.take() {
                rename(narinfo, &layout.narinfo(&entry.hash))?;
            }
            earlier.insert(entry.hash);
            Ok(())
        });
        batch.together(|_| sync_directory(layout.directory()));
        batch.together(|entries| self.count(entries));
        batch.outcomes()
    }

    /// From now on they are relied upon.
    fn count(&self, entries: &[&mut Entry]) -> Result<(), TreeError> {
        let mut index = write(&self.index);
        for entry in entries {
            if let Some(held) = Held::of(&entry.info, entry.text.len(), Some(Timestamp::now())) {
                index.insert(entry.hash, held, entry.info.references.iter().map(StorePath::hash_part));
            }
        }
        drop(index);
        for entry in entries {
            self.drop_from_trash(&entry.hash);
            self.beside.published(entry.hash);
        }
        // They are answered from there, and the catalog may have named a NAR file otherwise, by an upstream's word for it.
        self.put_in_catalog(entries.iter().map(|entry| &entry.info))
    }

    /// Fails unless each of its references is there, or `earlier`.
    fn may_follow(&self, entry: &Entry, earlier: &HashSet<HashPart>) -> Result<(), TreeError> {
        let mut absent =
            self.absent(&entry.info).filter(|reference| !earlier.contains(&reference.hash_part()));
        absent.next().map_or(Ok(()), |reference| {
            let (artifact, reference) = (entry.info.store_path.clone(), reference.clone());
            Err(TreeError::ReferenceMissing { artifact, reference })
        })
    }

    /// The first reference that is neither published nor in the catalog. In memory.
    #[must_use]
    pub fn first_absent<'i>(&self, info: &'i NarInfo) -> Option<&'i StorePath> {
        self.absent(info).next()
    }

    /// The references that are neither published nor in the catalog. In memory.
    fn absent<'i>(&self, info: &'i NarInfo) -> impl Iterator<Item = &'i StorePath> {
        let is_there = |hash: &HashPart| read(&self.index).has(hash) || read(&self.catalog).has(hash);
        let needed = info.references.iter().filter(|reference| **reference != info.store_path);
        needed.filter(move |reference| !is_there(&reference.hash_part()))
    }
}

#[cfg(test)]
mod tests;
