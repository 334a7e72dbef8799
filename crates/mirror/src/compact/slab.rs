//! Entries by place.

use super::{Place, index, place_after};

/// Entries that keep their places. The place of one that was removed is used again.
#[derive(Clone, Debug)]
pub struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<Place>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// Adds an entry.
    pub fn insert(&mut self, entry: T) -> Place {
        if let Some(place) = self.free.pop() {
            self.entries[index(place)] = Some(entry);
            return place;
        }
        self.entries.push(Some(entry));
        place_after(self.entries.len() - 1)
    }

    /// The entry at a place, if there is one.
    #[must_use]
    pub fn get(&self, place: Place) -> Option<&T> {
        self.entries.get(index(place))?.as_ref()
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, place: Place) -> Option<&mut T> {
        self.entries.get_mut(index(place))?.as_mut()
    }

    /// Takes an entry out.
    pub fn remove(&mut self, place: Place) -> Option<T> {
        let entry = self.entries.get_mut(index(place))?.take()?;
        self.free.push(place);
        Some(entry)
    }

    /// All of them, by place.
    pub fn iter(&self) -> impl Iterator<Item = (Place, &T)> {
        self.entries.iter().zip(0..).filter_map(|(entry, place)| Some((place, entry.as_ref()?)))
    }

    /// All of them, by place, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Place, &mut T)> {
        self.entries.iter_mut().zip(0..).filter_map(|(entry, place)| Some((place, entry.as_mut()?)))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it has allocated.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Option<T>>() + self.free.capacity() * size_of::<Place>()
    }

    /// Makes room for so many more, and for no more than these.
    pub fn reserve(&mut self, more: usize) {
        self.entries.reserve_exact(more.saturating_sub(self.free.len()));
    }
}
