//! A set of hash parts.

use granary_nix::HashPart;

use super::Parts;

/// Hash parts, each once. Takes 26 to 31 bytes for each, half of what a hash set takes.
#[derive(Clone, Debug, Default)]
pub struct HashParts(Parts<()>);

impl HashParts {
    /// Room for so many.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let mut parts = Parts::default();
        parts.reserve(capacity);
        Self(parts)
    }

    /// Whether it is in the set.
    #[must_use]
    pub fn contains(&self, hash: &HashPart) -> bool {
        self.0.has(hash)
    }

    /// Adds one; whether it is new.
    pub fn insert(&mut self, hash: HashPart) -> bool {
        let before = self.0.len();
        self.0.place_or(&hash, || ());
        self.0.len() > before
    }

    /// Takes one out; whether it was there.
    pub fn remove(&mut self, hash: &HashPart) -> bool {
        self.0.remove(hash).is_some()
    }

    /// All of them, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = HashPart> {
        self.0.hashes()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Extend<HashPart> for HashParts {
    fn extend<I: IntoIterator<Item = HashPart>>(&mut self, more: I) {
        for hash in more {
            self.insert(hash);
        }
    }
}

impl FromIterator<HashPart> for HashParts {
    fn from_iter<I: IntoIterator<Item = HashPart>>(all: I) -> Self {
        let all = all.into_iter();
        let mut set = Self::with_capacity(all.size_hint().0);
        set.extend(all);
        set
    }
}

impl<const N: usize> From<[HashPart; N]> for HashParts {
    fn from(all: [HashPart; N]) -> Self {
        all.into_iter().collect()
    }
}

impl PartialEq for HashParts {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().all(|hash| other.contains(&hash))
    }
}

impl Eq for HashParts {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_in_it_once() {
        let [a, b, c] = [1, 2, 3].map(|number| HashPart::unpack(&[number; 20]));
        let mut set = HashParts::from([a, b, a]);
        assert_eq!((set.len(), set.contains(&a), set.contains(&c)), (2, true, false));
        assert!(!set.insert(b) && set.insert(c) && set.remove(&a) && !set.remove(&a));
        assert_eq!(set, HashParts::from([c, b]));
        assert_ne!(set, HashParts::from([c, a]));
        assert!(HashParts::default().is_empty() && !set.is_empty());
    }
}
