//! A bounded memory of narinfos that were found a moment ago.

use std::collections::HashMap;

use granary_nix::{Hash, HashPart};

use super::race::Found;

/// Narinfos in each half of the memory.
const HALF: usize = 4096;
/// Bytes of them, about, in each half.
const HALF_BYTES: usize = 8 << 20;

/// Narinfos by their artifact, the newest and those used lately: two halves, of which the older is dropped when the younger
/// is full.
#[derive(Debug, Default)]
pub(super) struct Recent {
    young: HashMap<HashPart, Found>,
    old: HashMap<HashPart, Found>,
    young_bytes: usize,
}

impl Recent {
    pub(super) fn insert(&mut self, hash: HashPart, found: Found) {
        let bytes = weight(&found);
        if self.young.len() >= HALF || self.young_bytes + bytes > HALF_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
        self.young_bytes += bytes;
        self.young.insert(hash, found);
    }

    pub(super) fn get(&mut self, hash: &HashPart) -> Option<Found> {
        if let Some(found) = self.young.get(hash) {
            return Some(found.clone());
        }
        let found = self.old.remove(hash)?;
        self.insert(*hash, found.clone());
        Some(found)
    }

    /// Those whose NAR file may have this hash in its name.
    pub(super) fn named(&self, hash: Hash) -> impl Iterator<Item = (&HashPart, &Found)> {
        let all = self.young.iter().chain(&self.old);
        all.filter(move |(_, found)| found.info.nar_hash == hash || found.info.file_hash == Some(hash))
    }
}

/// Bytes that a narinfo takes, about.
fn weight(found: &Found) -> usize {
    let references: usize = found.info.references.iter().map(|path| path.base_name().len() + 40).sum();
    1000 + references + found.info.sigs.len() * 120
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn hash(number: usize) -> HashPart {
        Hash::of(&number.to_le_bytes()).to_nix32()[..32].parse().unwrap()
    }

    fn found(number: usize, references: usize) -> Found {
        let text = format!(
            "StorePath: /nix/store/{}-a\nURL: x\nNarHash: {}\nNarSize: 9\nReferences: {}\n",
            hash(number),
            Hash::of(&number.to_be_bytes()),
            (0..references).map(|number| format!("{}-a", hash(number))).collect::<Vec<_>>().join(" ")
        );
        Found { info: Arc::new(text.parse().unwrap()), source: 0 }
    }

    #[test]
    fn what_is_used_stays_and_the_number_is_bounded() {
        let mut recent = Recent::default();
        for number in 0..10 * HALF {
            recent.insert(hash(number), found(number, 0));
            assert!(number < 1 || recent.get(&hash(1)).is_some(), "{number}");
        }
        assert!(recent.young.len() + recent.old.len() <= 2 * HALF);
        assert!(recent.get(&hash(2)).is_none());
        let name = Hash::of(&1_usize.to_be_bytes());
        assert_eq!(recent.named(name).map(|(hash, _)| *hash).collect::<Vec<_>>(), [hash(1)]);
    }

    #[test]
    fn large_narinfos_are_fewer() {
        let mut recent = Recent::default();
        for number in 0..HALF {
            recent.insert(hash(number), found(number, 500));
        }
        assert!(recent.young.len() < HALF / 2, "{}", recent.young.len());
    }
}
