//! Entries by a key that several can have.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{Place, index};

/// No entry.
const END: Place = Place::MAX;

/// Finds entries, which are kept elsewhere, by a key that they have. Of a million with one key each is added as fast as the
/// first.
///
/// The key is not in here: whoever calls says what its hash is, and for entries that are in here, whether it is the same
/// and what their hashes are. Takes four bytes, and five to ten for each key.
#[derive(Clone, Debug, Default)]
pub struct Chains {
    /// One entry of each key.
    heads: HashTable<Place>,
    /// The next one with the same key, by place.
    next: Vec<Place>,
}

impl Chains {
    /// Adds the entry at `place`.
    pub fn insert(
        &mut self,
        place: Place,
        hash: u64,
        same: impl Fn(Place) -> bool,
        hash_of: impl Fn(Place) -> u64,
    ) {
        let Self { heads, next } = self;
        if next.len() <= index(place) {
            next.resize(index(place) + 1, END);
        }
        match heads.entry(hash, |head| same(*head), |head| hash_of(*head)) {
            Entry::Occupied(mut head) => {
                next[index(place)] = *head.get();
                *head.get_mut() = place;
            }
            Entry::Vacant(free) => {
                next[index(place)] = END;
                free.insert(place);
            }
        }
    }

    /// Takes the entry at `place` out, if it is in here. It must still be there to be compared.
    pub fn remove(&mut self, place: Place, hash: u64, same: impl Fn(Place) -> bool) {
        let Self { heads, next } = self;
        let Ok(mut head) = heads.find_entry(hash, |head| same(*head)) else { return };
        let after = next.get(index(place)).copied().unwrap_or(END);
        let mut before = *head.get();
        if before == place {
            if after == END {
                head.remove();
            } else {
                *head.get_mut() = after;
            }
            return;
        }
        while before != END {
            let following = next[index(before)];
            if following == place {
                next[index(before)] = after;
                return;
            }
            before = following;
        }
    }

    /// The entries with a key, the one first that came last.
    pub fn find(&self, hash: u64, same: impl Fn(Place) -> bool) -> impl Iterator<Item = Place> {
        let head = self.heads.find(hash, |head| same(*head)).copied();
        let next = |place: &Place| self.next.get(index(*place)).copied().filter(|next| *next != END);
        std::iter::successors(head, next)
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// Bytes that it has allocated.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.heads.allocation_size() + self.next.capacity() * size_of::<Place>()
    }

    /// Makes room for entries with so many keys more.
    pub fn reserve(&mut self, more: usize, hash_of: impl Fn(Place) -> u64) {
        self.heads.reserve(more, |head| hash_of(*head));
        self.next.reserve_exact(more);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few hashes, so that different keys have the same.
    fn hash(key: u8) -> u64 {
        u64::from(key % 3) << 60
    }

    proptest! {
        #[test]
        fn all_with_a_key_are_found(steps: Vec<(u8, u8)>) {
            let (mut chains, mut keys) = (Chains::default(), [None::<u8>; 32]);
            for (place, key) in steps {
                let (place, key) = (Place::from(place % 32), key % 8);
                if let Some(before) = keys[index(place)] {
                    chains.remove(place, hash(before), |other| keys[index(other)] == Some(before));
                    keys[index(place)] = None;
                } else {
                    keys[index(place)] = Some(key);
                    let of = |other: Place| hash(keys[index(other)].unwrap());
                    chains.insert(place, hash(key), |other| keys[index(other)] == Some(key), of);
                }
                for key in 0..8 {
                    let mut found: Vec<Place> =
                        chains.find(hash(key), |other| keys[index(other)] == Some(key)).collect();
                    found.sort_unstable();
                    let wanted: Vec<Place> =
                        (0..32).filter(|place| keys[index(*place)] == Some(key)).collect();
                    prop_assert_eq!(found, wanted);
                }
            }
        }
    }
}
