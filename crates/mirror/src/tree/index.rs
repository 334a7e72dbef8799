//! What is in the tree, kept in memory so that a pass does not read it again and again.

mod links;
mod outputs;

use std::collections::HashMap;

use granary_fetch::Expected;
use granary_nix::{Compression, Hash, HashPart, NarInfo, StorePath, served_nar_name};
use jiff::Timestamp;

use links::Links;
pub(super) use outputs::Deriver;
use outputs::Outputs;

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

/// A published artifact, for whoever decides what stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// Bytes of its NAR file.
    pub file_size: u64,
    /// When its narinfo was written, by the clock of that time; `None` when the filesystem does not say.
    pub at: Option<Timestamp>,
}

/// A published artifact: enough to see that it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) file_hash: Hash,
    pub(super) file_size: u64,
    pub(super) compression: Compression,
    pub(super) narinfo_length: u32,
    pub(super) at: Option<Timestamp>,
    /// The derivation that it comes from.
    pub(super) deriver: Deriver,
}

impl Held {
    /// Of a narinfo in our form; `None` when it is not.
    pub(super) fn of(info: &NarInfo, narinfo_length: usize, at: Option<Timestamp>) -> Option<Self> {
        let held = Self {
            file_hash: info.file_hash?,
            file_size: info.file_size?,
            compression: info.compression,
            narinfo_length: narinfo_length.try_into().ok()?,
            at,
            deriver: Deriver::of(info.deriver.as_ref()),
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
    links: Links,
    outputs: Outputs,
    bytes: u64,
    newest: Option<Timestamp>,
}

impl Index {
    pub(super) fn get(&self, hash: &HashPart) -> Option<&Held> {
        self.held.get(hash)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&HashPart, &Held)> {
        self.held.iter()
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = &HashPart> {
        self.held.keys()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&HashPart, &Held)> {
        self.held.iter()
    }

    /// `references` are those of the narinfo; its own path among them counts for nothing.
    pub(super) fn insert(
        &mut self,
        hash: HashPart,
        held: Held,
        references: impl IntoIterator<Item = HashPart>,
    ) {
        self.remove(&hash);
        self.bytes += held.file_size;
        self.newest = self.newest.max(held.at);
        self.links.add(hash, &held, references);
        self.outputs.add(held.deriver);
        self.held.insert(hash, held);
    }

    pub(super) fn remove(&mut self, hash: &HashPart) {
        if let Some(held) = self.held.remove(hash) {
            self.bytes -= held.file_size;
            self.links.remove(hash, &held);
            self.outputs.remove(held.deriver);
        }
    }

    /// How many other published artifacts refer to this one.
    pub(super) fn referrers(&self, hash: &HashPart) -> u32 {
        self.links.referrers(hash)
    }

    /// Whether anything that something published refers to is not published.
    pub(super) fn has_gaps(&self) -> bool {
        self.links.has_gaps()
    }

    /// How many published artifacts have this NAR file.
    pub(super) fn sharing(&self, held: &Held) -> u32 {
        self.links.sharing(held)
    }

    /// How many published artifacts come from the derivation.
    pub(super) fn outputs_of(&self, derivation: &StorePath) -> u32 {
        self.outputs.of(Deriver::of(Some(derivation)))
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { artifacts: self.held.len() as u64, bytes: self.bytes, newest: self.newest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(file_size: u64, second: i64) -> Held {
        let at = Timestamp::from_second(second).ok();
        Held {
            file_hash: Hash::of(b""),
            file_size,
            compression: Compression::Xz,
            narinfo_length: 1,
            at,
            deriver: Deriver::default(),
        }
    }

    fn hash(name: char) -> HashPart {
        name.to_string().repeat(32).parse().unwrap()
    }

    #[test]
    fn totals_follow_what_comes_and_goes() {
        let mut index = Index::default();
        let later = Timestamp::from_second(2).ok();
        index.insert(hash('a'), held(10, 2), []);
        index.insert(hash('a'), held(7, 1), []);
        assert_eq!(index.totals(), Totals { artifacts: 1, bytes: 7, newest: later });
        index.remove(&hash('a'));
        index.remove(&hash('a'));
        assert_eq!(index.totals(), Totals { artifacts: 0, bytes: 0, newest: later });
    }

    #[test]
    fn what_is_referred_to_and_not_there_is_a_gap() {
        let mut index = Index::default();
        let (a, b) = (hash('a'), hash('b'));
        index.insert(a, held(1, 1), [a, b]);
        assert!(index.has_gaps());
        index.insert(b, held(1, 1), []);
        assert!(!index.has_gaps(), "oneself is none");
        index.remove(&b);
        assert!(index.has_gaps());
        index.remove(&a);
        assert!(!index.has_gaps());
    }

    #[test]
    fn referrers_and_shared_files_are_counted() {
        let mut index = Index::default();
        let (a, b, c) = (hash('a'), hash('b'), hash('c'));
        index.insert(a, held(1, 1), [a, c]);
        index.insert(b, held(1, 1), [c]);
        assert_eq!((index.referrers(&a), index.referrers(&c)), (0, 2), "oneself does not count");
        assert_eq!(index.sharing(&held(1, 1)), 2);
        // Published again with other references.
        index.insert(b, held(1, 1), [a]);
        assert_eq!((index.referrers(&a), index.referrers(&c)), (1, 1));
        assert_eq!(index.sharing(&held(1, 1)), 2);
        index.remove(&a);
        index.remove(&b);
        assert_eq!((index.referrers(&a), index.referrers(&c), index.sharing(&held(1, 1))), (0, 0, 0));
    }
}
