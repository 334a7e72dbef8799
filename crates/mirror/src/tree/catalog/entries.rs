//! What the catalog knows, in memory.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::path::{Path, PathBuf};

use granary_fetch::Expected;
use granary_nix::{Compression, Hash, HashPart, NarInfo, served_nar_name};

use crate::compact::{Chains, Parts, Place};
use crate::tree::TreeError;
use crate::tree::durable::read_narinfo;
use crate::tree::index::CatalogEntry;
use crate::tree::many::{narinfos_in, read_each};

/// The beginning of the SHA-256 of a narinfo's text: enough to see whether it changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tree) struct Digest(u64);

impl Digest {
    /// Of this text.
    pub(in crate::tree) fn of(text: &str) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&Hash::of(text.as_bytes()).as_bytes()[..8]);
        Self(u64::from_le_bytes(first))
    }
}

/// A digest of what the signatures of a narinfo cover. Two verified narinfos with the same one say the same of which NAR an
/// artifact is and what it refers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signed(u64);

impl Signed {
    /// Of this narinfo.
    #[must_use]
    pub fn of(info: &NarInfo) -> Self {
        let NarInfo { store_path, nar_hash, nar_size, references, .. } = info;
        let mut hasher = DefaultHasher::new();
        (store_path, nar_hash, nar_size, references).hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// What is kept of a narinfo's text and of what is signed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tree) struct Digests {
    pub(in crate::tree) text: Digest,
    pub(in crate::tree) signed: Signed,
}

impl Digests {
    /// Of a narinfo with this text.
    pub(in crate::tree) fn of(info: &NarInfo, text: &str) -> Self {
        Self { text: Digest::of(text), signed: Signed::of(info) }
    }
}

/// What the catalog's directory has. In memory: about 160 bytes for each artifact.
#[derive(Debug, Default)]
pub(in crate::tree) struct Catalog {
    entries: Parts<Known>,
    /// By the hashes that NAR files are named by: the FileHash, and the NarHash, which is in the name as long as no FileHash is
    /// known, and by which clients who read the narinfo then ask for a month. Several artifacts can have one NAR.
    names: Chains,
    hasher: RandomState,
    /// [`Expected::content`], which few have.
    contents: HashMap<Place, Hash>,
}

/// One narinfo of the catalog.
#[derive(Debug)]
struct Known {
    /// Its text, to write only what changed.
    digests: Digests,
    compression: Compression,
    /// Whether the file's hash and its size are stated.
    has_file_hash: bool,
    has_file_size: bool,
    file_hash: Hash,
    file_size: u64,
    nar_hash: Hash,
    nar_size: u64,
}

impl Known {
    fn new(digests: Digests, expected: &Expected) -> Self {
        let Expected { compression, file_hash, file_size, nar_hash, nar_size, content: _ } = *expected;
        Self {
            digests,
            compression,
            has_file_hash: file_hash.is_some(),
            has_file_size: file_size.is_some(),
            file_hash: file_hash.unwrap_or(nar_hash),
            file_size: file_size.unwrap_or_default(),
            nar_hash,
            nar_size,
        }
    }

    fn expected(&self, content: Option<Hash>) -> Expected {
        let Self { compression, file_hash, file_size, nar_hash, nar_size, .. } = *self;
        let file_hash = self.has_file_hash.then_some(file_hash);
        let file_size = self.has_file_size.then_some(file_size);
        Expected { compression, file_hash, file_size, nar_hash, nar_size, content }
    }
}

/// Which of a narinfo's two hashes is meant, in [`Catalog::names`]: by the place of its entry, doubled, and one more for the
/// FileHash.
const FILE: Place = 1;

/// The names of the entry at a place: its NarHash, and its FileHash where it is another one.
fn names_at(place: Place, known: &Known) -> impl Iterator<Item = (Place, Hash)> + use<> {
    let nar = (place * 2, known.nar_hash);
    let file = ((place * 2) | FILE, known.file_hash);
    std::iter::once(nar).chain((nar.1 != file.1).then_some(file))
}

/// The hash that a name is; `None` when there is no such entry.
fn named(entries: &Parts<Known>, name: Place) -> Option<Hash> {
    let known = entries.at(name / 2)?;
    Some(if name & FILE == FILE { known.file_hash } else { known.nar_hash })
}

fn hash_of(hasher: &RandomState, entries: &Parts<Known>, name: Place) -> u64 {
    named(entries, name).map_or(0, |hash| hasher.hash_one(hash))
}

impl Catalog {
    pub(in crate::tree) fn by_name(&self, file: &str, hash: Hash) -> Option<CatalogEntry> {
        let is_named = |entry: &CatalogEntry| {
            served_nar_name(hash, entry.expected.compression).strip_prefix("nar/") == Some(file)
        };
        let same = |name| named(&self.entries, name) == Some(hash);
        let found = self.names.find(self.hasher.hash_one(hash), same);
        found.filter_map(|name| self.entry_at(name / 2)).find(is_named)
    }

    fn entry_at(&self, place: Place) -> Option<CatalogEntry> {
        let expected = self.entries.at(place)?.expected(self.contents.get(&place).copied());
        Some(CatalogEntry { hash_part: self.entries.hash_at(place), expected })
    }

    pub(in crate::tree) fn entry(&self, hash: &HashPart) -> Option<CatalogEntry> {
        self.entry_at(self.entries.place(hash)?)
    }

    /// Those of an artifact's narinfo.
    pub(in crate::tree) fn digests(&self, hash: &HashPart) -> Option<Digests> {
        self.entries.get(hash).map(|known| known.digests)
    }

    pub(in crate::tree) fn has(&self, hash: &HashPart) -> bool {
        self.entries.has(hash)
    }

    pub(in crate::tree) fn hashes(&self) -> impl Iterator<Item = HashPart> {
        self.entries.hashes()
    }

    pub(in crate::tree) fn insert(&mut self, hash: HashPart, digests: Digests, expected: Expected) {
        self.remove(&hash);
        let place = self.entries.insert(&hash, Known::new(digests, &expected));
        self.contents.extend(expected.content.map(|content| (place, content)));
        let Self { entries, names, hasher, contents: _ } = self;
        for (name, hash) in entries.at(place).into_iter().flat_map(|known| names_at(place, known)) {
            let same = |other| named(entries, other) == Some(hash);
            names.insert(name, hasher.hash_one(hash), same, |other| hash_of(hasher, entries, other));
        }
    }

    pub(in crate::tree) fn remove(&mut self, hash: &HashPart) {
        let Self { entries, names, hasher, contents } = self;
        let Some(place) = entries.place(hash) else { return };
        for (name, hash) in entries.at(place).into_iter().flat_map(|known| names_at(place, known)) {
            names.remove(name, hasher.hash_one(hash), |other| named(entries, other) == Some(hash));
        }
        contents.remove(&place);
        entries.remove(hash);
    }

    /// Reads the directory. A file that is no narinfo is left alone, and written over when it is wanted.
    /// `path` says where the narinfo of each artifact is in it.
    pub(in crate::tree) fn load(
        directory: &Path,
        path: impl Fn(&HashPart) -> PathBuf + Sync,
    ) -> Result<Self, TreeError> {
        let hashes = narinfos_in(directory)?;
        let mut catalog = Self::default();
        catalog.reserve(hashes.len());
        let read = |hash: &HashPart| {
            let info = read_narinfo(&path(hash)).filter(|info| info.store_path.hash_part() == *hash);
            Ok(info.map(|info| (Digests::of(&info, &info.to_text()), Expected::from(&info))))
        };
        read_each(&hashes, read, |hash, (digests, expected)| catalog.insert(hash, digests, expected))?;
        Ok(catalog)
    }

    /// Bytes that it has allocated, apart from what few artifacts have.
    #[cfg(test)]
    pub(in crate::tree) fn bytes(&self) -> usize {
        let Self { entries, names, hasher: _, contents: _ } = self;
        entries.bytes() + names.bytes()
    }

    /// Makes room for so many more artifacts, so that none is moved again and again while they come.
    pub(in crate::tree) fn reserve(&mut self, more: usize) {
        let Self { entries, names, hasher, contents: _ } = self;
        entries.reserve(more);
        names.reserve(more * 2, |name| hash_of(hasher, entries, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u8) -> HashPart {
        HashPart::unpack(&[number; 20])
    }

    fn expected(file: Option<u8>, nar: u8) -> Expected {
        Expected {
            compression: Compression::Zstd,
            file_hash: file.map(|number| Hash::of(&[number])),
            file_size: file.map(u64::from),
            nar_hash: Hash::of(&[nar]),
            nar_size: nar.into(),
            content: (nar == 9).then(|| Hash::of(b"content")),
        }
    }

    #[test]
    fn it_says_what_it_was_told_and_is_found_by_both_names() {
        assert!(size_of::<Option<Known>>() <= 104);
        let all = [expected(Some(1), 2), expected(None, 9), expected(Some(1), 3), expected(Some(4), 4)];
        let mut catalog = Catalog::default();
        let digests = |text: &str| Digests { text: Digest::of(text), signed: Signed::default() };
        for (number, expected) in (0..).zip(all) {
            catalog.insert(hash(number), digests("old"), self::expected(Some(77), 78));
            catalog.insert(hash(number), digests("text"), expected);
        }
        let found = |catalog: &Catalog, number: u8| {
            let name = Hash::of(&[number]);
            let file = format!("{}.nar.zst", name.to_nix32());
            assert_eq!(catalog.by_name(&file.replace("zst", "xz"), name), None);
            catalog.by_name(&file, name).map(|entry| entry.hash_part)
        };
        for (number, expected) in (0..).zip(all) {
            assert_eq!(catalog.entry(&hash(number)).unwrap().expected, expected);
            assert_eq!(catalog.digests(&hash(number)), Some(digests("text")));
            assert!(found(&catalog, u8::try_from(expected.nar_size).unwrap()) == Some(hash(number)));
        }
        assert_eq!([77, 78].map(|name| found(&catalog, name)), [None; 2], "what it was before");
        assert!(matches!(found(&catalog, 1), Some(one) if one == hash(0) || one == hash(2)));
        catalog.remove(&hash(2));
        assert_eq!(found(&catalog, 1), Some(hash(0)), "the other one has it still");
        for number in 0..4 {
            catalog.remove(&hash(number));
            catalog.remove(&hash(number));
        }
        assert!([1, 2, 3, 4, 9].iter().all(|name| found(&catalog, *name).is_none()));
        assert!(
            catalog.names.is_empty()
                && catalog.contents.is_empty()
                && !catalog.has(&hash(0))
                && catalog.hashes().next().is_none()
        );
    }
}
