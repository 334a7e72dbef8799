//! Entries by hash part.

use std::hash::{BuildHasher as _, RandomState};

use granary_nix::HashPart;
use hashbrown::HashTable;

use super::{Place, Slab, index};

type Key = [u8; HashPart::BYTES];

/// A map from hash parts to entries, each of which has a place as well.
///
/// Takes 20 bytes for the key, five to ten for the table, and the entry.
#[derive(Clone, Debug)]
pub struct Parts<T> {
    /// By place; that of a free place is any.
    keys: Vec<Key>,
    entries: Slab<T>,
    table: HashTable<Place>,
    hasher: RandomState,
}

impl<T> Default for Parts<T> {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            entries: Slab::default(),
            table: HashTable::new(),
            hasher: RandomState::new(),
        }
    }
}

impl<T> Parts<T> {
    /// Where the entry of a hash part is.
    #[must_use]
    pub fn place(&self, hash: &HashPart) -> Option<Place> {
        self.find(&hash.pack())
    }

    fn find(&self, key: &Key) -> Option<Place> {
        self.table.find(self.hasher.hash_one(key), |place| self.keys[index(*place)] == *key).copied()
    }

    /// The entry of a hash part.
    #[must_use]
    pub fn get(&self, hash: &HashPart) -> Option<&T> {
        self.entries.get(self.place(hash)?)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, hash: &HashPart) -> Option<&mut T> {
        self.entries.get_mut(self.place(hash)?)
    }

    /// Whether there is an entry of this hash part.
    #[must_use]
    pub fn has(&self, hash: &HashPart) -> bool {
        self.place(hash).is_some()
    }

    /// The entry at a place.
    #[must_use]
    pub fn at(&self, place: Place) -> Option<&T> {
        self.entries.get(place)
    }

    /// The same, to change it.
    pub fn at_mut(&mut self, place: Place) -> Option<&mut T> {
        self.entries.get_mut(place)
    }

    /// The hash part of the entry at a place; any, when there is none.
    #[must_use]
    pub fn hash_at(&self, place: Place) -> HashPart {
        HashPart::unpack(&self.keys.get(index(place)).copied().unwrap_or_default())
    }

    /// The place of the hash part's entry, which is made if there is none.
    pub fn place_or(&mut self, hash: &HashPart, entry: impl FnOnce() -> T) -> Place {
        let key = hash.pack();
        self.find(&key).unwrap_or_else(|| self.add(key, entry()))
    }

    /// Adds an entry, in place of the one that the hash part had.
    pub fn insert(&mut self, hash: &HashPart, entry: T) -> Place {
        let key = hash.pack();
        match self.find(&key) {
            Some(place) => {
                if let Some(before) = self.entries.get_mut(place) {
                    *before = entry;
                }
                place
            }
            None => self.add(key, entry),
        }
    }

    /// For a key that has none.
    fn add(&mut self, key: Key, entry: T) -> Place {
        let Self { keys, entries, table, hasher } = self;
        let place = entries.insert(entry);
        match keys.get_mut(index(place)) {
            Some(free) => *free = key,
            None => keys.push(key),
        }
        table.insert_unique(hasher.hash_one(key), place, |place| hasher.hash_one(keys[index(*place)]));
        place
    }

    /// Takes the entry of a hash part out.
    pub fn remove(&mut self, hash: &HashPart) -> Option<(Place, T)> {
        let Self { keys, entries, table, hasher } = self;
        let key = hash.pack();
        let found = table.find_entry(hasher.hash_one(key), |place| keys[index(*place)] == key).ok()?;
        let place = found.remove().0;
        entries.remove(place).map(|entry| (place, entry))
    }

    /// All of them, by place.
    pub fn iter(&self) -> impl Iterator<Item = (HashPart, &T)> {
        self.entries.iter().map(|(place, entry)| (self.hash_at(place), entry))
    }

    /// The hash parts that have entries, by place.
    pub fn hashes(&self) -> impl Iterator<Item = HashPart> {
        self.iter().map(|(hash, _)| hash)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that it has allocated.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.keys.capacity() * size_of::<Key>() + self.entries.bytes() + self.table.allocation_size()
    }

    /// Makes room for so many more.
    pub fn reserve(&mut self, more: usize) {
        let Self { keys, entries, table, hasher } = self;
        keys.reserve_exact(more);
        entries.reserve(more);
        table.reserve(more, |place| hasher.hash_one(keys[index(*place)]));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn hash(number: u8) -> HashPart {
        HashPart::unpack(&[number; 20])
    }

    proptest! {
        #[test]
        fn as_a_map_would_have_it(steps: Vec<(u8, Option<u16>)>) {
            let (mut parts, mut map) = (Parts::default(), HashMap::new());
            for (number, entry) in steps {
                let hash = hash(number % 16);
                if let Some(entry) = entry {
                    let place = parts.insert(&hash, entry);
                    prop_assert_eq!((parts.at(place), parts.hash_at(place)), (Some(&entry), hash));
                    map.insert(hash, entry);
                } else {
                    prop_assert_eq!(parts.remove(&hash).map(|(_, entry)| entry), map.remove(&hash));
                }
                prop_assert_eq!(parts.get(&hash), map.get(&hash));
            }
            prop_assert_eq!(parts.len(), map.len());
            prop_assert_eq!(parts.iter().map(|(hash, entry)| (hash, *entry)).collect::<HashMap<_, _>>(), map);
        }
    }

    #[test]
    fn a_place_is_used_again_and_not_before() {
        let mut parts = Parts::default();
        let [a, b] = [1, 2].map(|number| parts.insert(&hash(number), number));
        assert_eq!(parts.place_or(&hash(1), || 9), a, "it is there");
        assert_ne!(a, b);
        parts.remove(&hash(1)).unwrap();
        assert_eq!((parts.at(a), parts.place(&hash(1))), (None, None));
        assert_eq!(parts.insert(&hash(3), 3), a);
        assert_eq!(parts.get(&hash(2)), Some(&2));
    }
}
