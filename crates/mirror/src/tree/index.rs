//! What is in the tree, kept in memory so that a pass does not read it again and again.

mod outputs;
mod packed;

use granary_fetch::Expected;
use granary_nix::{Compression, Hash, HashPart, NarInfo, StorePath, served_nar_name};
use jiff::Timestamp;

pub(super) use outputs::Deriver;
use outputs::Outputs;
use packed::Packed;

use crate::compact::{Counts, Lists, Parts, Place, Slab};

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

/// The published artifacts. In memory: about 200 bytes for each artifact with five references.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Every hash part that is published or referred to.
    parts: Parts<Part>,
    held: Slab<Packed>,
    /// What each artifact refers to, itself apart: places in `parts`.
    references: Lists,
    /// How many artifacts have each NAR file. Two files with one digest would only keep each other from the trash.
    files: Counts,
    outputs: Outputs,
    bytes: u64,
    newest: Option<Timestamp>,
}

/// What is known by a hash part.
#[derive(Debug, Default)]
struct Part {
    /// How many other published artifacts refer to it.
    referrers: u32,
    /// Where it is in `held`, if it is published.
    held: Option<Place>,
}

impl Index {
    pub(super) fn get(&self, hash: &HashPart) -> Option<Held> {
        self.held.get(self.parts.get(hash)?.held?).map(Packed::unpack)
    }

    /// The size of a published NAR file, which is asked for again and again while a pass runs.
    pub(super) fn file_size(&self, hash: &HashPart) -> Option<u64> {
        self.held.get(self.parts.get(hash)?.held?).map(|packed| packed.file_size)
    }

    pub(super) fn has(&self, hash: &HashPart) -> bool {
        self.parts.get(hash).is_some_and(|part| part.held.is_some())
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = HashPart> {
        self.parts.iter().filter(|(_, part)| part.held.is_some()).map(|(hash, _)| hash)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (HashPart, Held)> {
        self.held.iter().map(|(_, packed)| (self.parts.hash_at(packed.part), packed.unpack()))
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
        self.files.add(file(&held));
        self.outputs.add(held.deriver);
        let part = self.parts.place_or(&hash, Part::default);
        let others = references.into_iter().filter(|other| *other != hash);
        let mut references: Vec<Place> =
            others.map(|other| self.parts.place_or(&other, Part::default)).collect();
        references.sort_unstable();
        references.dedup();
        for reference in &references {
            if let Some(part) = self.parts.at_mut(*reference) {
                part.referrers += 1;
            }
        }
        let references = self.references.add(references);
        let place = self.held.insert(Packed::new(held, part, references));
        if let Some(part) = self.parts.at_mut(part) {
            part.held = Some(place);
        }
    }

    pub(super) fn remove(&mut self, hash: &HashPart) {
        let held = self.parts.get_mut(hash).and_then(|part| part.held.take());
        let Some(packed) = held.and_then(|held| self.held.remove(held)) else { return };
        let held = packed.unpack();
        self.bytes -= held.file_size;
        self.files.remove(file(&held));
        self.outputs.remove(held.deriver);
        for reference in self.references.get(packed.references).to_vec() {
            if let Some(part) = self.parts.at_mut(reference) {
                part.referrers -= 1;
            }
            self.forget(reference);
        }
        self.forget(packed.part);
        self.references.remove(packed.references);
        if self.references.is_sparse() {
            self.references.pack(self.held.iter_mut().map(|(_, packed)| &mut packed.references));
        }
    }

    /// Forgets a hash part that is neither published nor referred to.
    fn forget(&mut self, place: Place) {
        if matches!(self.parts.at(place), Some(Part { referrers: 0, held: None })) {
            let hash = self.parts.hash_at(place);
            self.parts.remove(&hash);
        }
    }

    /// How many other published artifacts refer to this one.
    pub(super) fn referrers(&self, hash: &HashPart) -> u32 {
        self.parts.get(hash).map_or(0, |part| part.referrers)
    }

    /// Whether anything that something published refers to is not published.
    pub(super) fn has_gaps(&self) -> bool {
        self.parts.iter().any(|(_, part)| part.referrers > 0 && part.held.is_none())
    }

    /// How many published artifacts have this NAR file.
    pub(super) fn sharing(&self, held: &Held) -> u32 {
        self.files.of(file(held))
    }

    /// How many published artifacts come from the derivation.
    pub(super) fn outputs_of(&self, derivation: &StorePath) -> u32 {
        self.outputs.of(Deriver::of(Some(derivation)))
    }

    pub(super) fn totals(&self) -> Totals {
        Totals { artifacts: self.held.len() as u64, bytes: self.bytes, newest: self.newest }
    }

    /// Bytes that it has allocated.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let Self { parts, held, references, files, outputs, bytes: _, newest: _ } = self;
        parts.bytes() + held.bytes() + references.bytes() + files.bytes() + outputs.bytes()
    }

    /// Makes room for so many more artifacts, so that none is moved again and again while they come.
    pub(super) fn reserve(&mut self, more: usize) {
        self.parts.reserve(more);
        self.held.reserve(more);
        self.files.reserve(more);
    }
}

/// A digest of which NAR file it is.
fn file(held: &Held) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&held.file_hash.as_bytes()[..8]);
    u64::from_le_bytes(first) ^ held.compression as u64
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
        assert!(index.parts.is_empty(), "what nothing is known about takes no room");
    }
}
