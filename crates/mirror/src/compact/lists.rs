//! Many short lists.

/// Where a list is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct List {
    start: u32,
    length: u32,
}

/// Lists of numbers, one after the other in the same memory: an allocation of its own would take 16 bytes more, and be a
/// hole for a while when it is gone.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    numbers: Vec<u32>,
    /// How many of them are of lists that are gone.
    gone: usize,
}

impl Lists {
    /// Adds a list.
    pub fn add(&mut self, list: impl IntoIterator<Item = u32>) -> List {
        let start = self.numbers.len();
        self.numbers.extend(list);
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        List { start: number(start), length: number(self.numbers.len() - start) }
    }

    /// The numbers of a list.
    #[must_use]
    pub fn get(&self, List { start, length }: List) -> &[u32] {
        let start = start as usize;
        self.numbers.get(start..start + length as usize).unwrap_or_default()
    }

    /// The list is not needed any more.
    pub fn remove(&mut self, list: List) {
        self.gone += list.length as usize;
    }

    /// Whether it is time to [pack](Self::pack).
    #[must_use]
    pub fn is_sparse(&self) -> bool {
        self.gone > 1024 && self.gone > self.numbers.len() / 2
    }

    /// Gives back the memory of lists that are gone. `lists` are all that are still needed; they are somewhere else then.
    pub fn pack<'l>(&mut self, lists: impl Iterator<Item = &'l mut List>) {
        let mut packed = Self::default();
        packed.numbers.reserve_exact(self.numbers.len().saturating_sub(self.gone));
        for list in lists {
            *list = packed.add(self.get(*list).iter().copied());
        }
        *self = packed;
    }

    /// Bytes that it has allocated.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.numbers.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_outlive_packing() {
        let mut lists = Lists::default();
        let mut all: Vec<List> = (0..1000).map(|number| lists.add(number..number + number % 7)).collect();
        assert!(!lists.is_sparse());
        let mut kept = Vec::new();
        for (number, list) in (0..).zip(all.drain(..)) {
            if number % 3 == 0 {
                kept.push((number, list));
            } else {
                lists.remove(list);
            }
        }
        assert!(lists.is_sparse());
        lists.pack(kept.iter_mut().map(|(_, list)| list));
        assert!(!lists.is_sparse() && lists.numbers.len() < 1000 + 7);
        for (number, list) in kept {
            assert_eq!(lists.get(list), (number..number + number % 7).collect::<Vec<_>>());
        }
        assert!(lists.get(List::default()).is_empty());
    }
}
