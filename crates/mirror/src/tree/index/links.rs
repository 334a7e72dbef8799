//! Who refers to whom, and who has the same NAR file: what a removal has to know.

use std::collections::{HashMap, HashSet};
use std::hash::Hash as Hashable;

use granary_nix::{Compression, Hash, HashPart};

use super::Held;

/// A digest of a hash part, for a quarter of the memory. Two artifacts with the same one would only be kept longer for each
/// other's referrers.
type Short = u64;

/// Counts over everything published. In memory: about 100 bytes for each artifact with ten references.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// What each artifact refers to, itself apart.
    references: HashMap<HashPart, Box<[Short]>>,
    referrers: HashMap<Short, u32>,
    files: HashMap<(Hash, Compression), u32>,
}

impl Links {
    pub(super) fn add(
        &mut self,
        hash: HashPart,
        held: &Held,
        references: impl IntoIterator<Item = HashPart>,
    ) {
        let others = references.into_iter().filter(|other| *other != hash);
        let mut references: Vec<Short> = others.map(|other| short(&other)).collect();
        references.sort_unstable();
        references.dedup();
        for reference in &references {
            *self.referrers.entry(*reference).or_default() += 1;
        }
        self.references.insert(hash, references.into());
        *self.files.entry(file(held)).or_default() += 1;
    }

    pub(super) fn remove(&mut self, hash: &HashPart, held: &Held) {
        for reference in self.references.remove(hash).unwrap_or_default() {
            decrease(&mut self.referrers, &reference);
        }
        decrease(&mut self.files, &file(held));
    }

    pub(super) fn referrers(&self, hash: &HashPart) -> u32 {
        self.referrers.get(&short(hash)).copied().unwrap_or_default()
    }

    /// Whether anything that is referred to is not published.
    pub(super) fn has_gaps(&self) -> bool {
        let there: HashSet<Short> = self.references.keys().map(short).collect();
        self.referrers.keys().any(|referred| !there.contains(referred))
    }

    pub(super) fn sharing(&self, held: &Held) -> u32 {
        self.files.get(&file(held)).copied().unwrap_or_default()
    }
}

/// FNV-1a.
fn short(hash: &HashPart) -> Short {
    let step = |sum: u64, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    hash.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step)
}

fn file(held: &Held) -> (Hash, Compression) {
    (held.file_hash, held.compression)
}

fn decrease<K: Hashable + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
