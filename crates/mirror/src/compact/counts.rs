//! How often there is something.

use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;

/// Counts by 64 bits of a digest. Two things with the same bits are counted together; 12 bytes instead of a key and a count,
/// which the table has up to twice as often as there are things.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// The digest's halves and its count: with a `u64` in it an entry would be a third larger.
    table: HashTable<[u32; 3]>,
    hasher: RandomState,
}

impl Counts {
    /// One more.
    pub fn add(&mut self, digest: u64) {
        let Self { table, hasher } = self;
        let hash = hasher.hash_one(digest);
        let entry =
            table.entry(hash, |entry| digest_of(entry) == digest, |entry| hasher.hash_one(digest_of(entry)));
        let mut entry = entry.or_insert([halves(digest)[0], halves(digest)[1], 0]);
        entry.get_mut()[2] += 1;
    }

    /// One less.
    pub fn remove(&mut self, digest: u64) {
        let hash = self.hasher.hash_one(digest);
        let Ok(mut entry) = self.table.find_entry(hash, |entry| digest_of(entry) == digest) else { return };
        entry.get_mut()[2] -= 1;
        if entry.get()[2] == 0 {
            entry.remove();
        }
    }

    /// How many there are.
    #[must_use]
    pub fn of(&self, digest: u64) -> u32 {
        let hash = self.hasher.hash_one(digest);
        self.table.find(hash, |entry| digest_of(entry) == digest).map_or(0, |entry| entry[2])
    }

    /// Bytes that it has allocated.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.table.allocation_size()
    }

    /// Makes room for so many more things.
    pub fn reserve(&mut self, more: usize) {
        let Self { table, hasher } = self;
        table.reserve(more, |entry| hasher.hash_one(digest_of(entry)));
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a half is what is wanted")]
fn halves(digest: u64) -> [u32; 2] {
    [(digest >> 32) as u32, digest as u32]
}

fn digest_of([high, low, _]: &[u32; 3]) -> u64 {
    u64::from(*high) << 32 | u64::from(*low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_and_goes_is_counted() {
        let mut counts = Counts::default();
        for digest in [0, 1, u64::MAX, 1 << 32, 1, 1] {
            counts.add(digest);
        }
        let of = |counts: &Counts| [0, 1, 1 << 32, u64::MAX, 2].map(|digest| counts.of(digest));
        assert_eq!(of(&counts), [1, 3, 1, 1, 0]);
        for digest in [1, 1, 1, 1, 2, u64::MAX] {
            counts.remove(digest);
        }
        assert_eq!(of(&counts), [1, 0, 1, 0, 0]);
        assert_eq!(counts.table.len(), 2, "what is not there takes no room");
    }
}
