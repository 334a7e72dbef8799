//! What is in the tree, kept in memory so that a pass does not read it again and again.

use std::collections::HashMap;

use granary_fetch::Expected;
use granary_nix::{Compression, Hash, HashPart, NarInfo, served_nar_name};
use jiff::Timestamp;

/// What is published in a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Artifacts.
    pub artifacts: u64,
    /// Bytes of their NAR files. Two artifacts with one NAR file count it twice.
    pub bytes: u64,
    /// When the newest of them was published.
    pub newest: Option<Timestamp>,
}

/// What the catalog knows about a NAR file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The artifact.
    pub hash_part: HashPart,
    /// What its NAR file must be, as far as the upstream said.
    pub expected: Expected,
}

/// A published artifact: enough to see that it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) file_hash: Hash,
    pub(super) file_size: u64,
    pub(super) compression: Compression,
    pub(super) narinfo_length: u32,
}

impl Held {
    /// Of a narinfo in our form; `None` when it is not.
    pub(super) fn of(info: &NarInfo, narinfo_length: usize) -> Option<Self> {
        let held = Self {
            file_hash: info.file_hash?,
            file_size: info.file_size?,
            compression: info.compression,
            narinfo_length: narinfo_length.try_into().ok()?,
        };
        (held.nar_name() == info.url).then_some(held)
    }

    /// The NAR file's name in the cache.
    pub(super) fn nar_name(&self) -> String {
        served_nar_name(self.file_hash, self.compression)
    }
}

/// The published artifacts.
#[derive(Debug, Default)]
pub(super) struct Index {
    held: HashMap<HashPart, Held>,
    bytes: u64,
    newest: Option<Timestamp>,
}

impl Index {
    pub(super) fn get(&self, hash: &HashPart) -> Option<&Held> {
        self.held.get(hash)
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = &HashPart> {
        self.held.keys()
    }

    pub(super) fn insert(&mut self, hash: HashPart, held: Held, at: Option<Timestamp>) {
        self.bytes += held.file_size;
        self.newest = self.newest.max(at);
        if let Some(before) = self.held.insert(hash, held) {
            self.bytes -= before.file_size;
        }
    }

    pub(super) fn remove(&mut self, hash: &HashPart) {
        if let Some(held) = self.held.remove(hash) {
            self.bytes -= held.file_size;
        }
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { artifacts: self.held.len() as u64, bytes: self.bytes, newest: self.newest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_follow_what_comes_and_goes() {
        let hash: HashPart = "00bgd045z0d4icpbc2yyz4gx48ak44la".parse().unwrap();
        let held = |file_size| Held {
            file_hash: Hash::of(b""),
            file_size,
            compression: Compression::Xz,
            narinfo_length: 1,
        };
        let mut index = Index::default();
        let later = Timestamp::from_second(2).ok();
        index.insert(hash, held(10), later);
        index.insert(hash, held(7), Timestamp::from_second(1).ok());
        assert_eq!(index.totals(), Totals { artifacts: 1, bytes: 7, newest: later });
        index.remove(&hash);
        index.remove(&hash);
        assert_eq!(index.totals(), Totals { artifacts: 0, bytes: 0, newest: later });
    }
}
