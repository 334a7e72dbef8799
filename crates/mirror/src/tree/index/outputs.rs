//! How many artifacts come from each derivation: its log stays as long as one of them does.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use granary_nix::StorePath;

use crate::compact::Counts;

/// A digest of a derivation's path, or that there is none, for a tenth of the memory. Two derivations with the same one
/// would only keep each other's logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::tree) struct Deriver(u64);

impl Deriver {
    pub(in crate::tree) fn of(derivation: Option<&StorePath>) -> Self {
        let digest = |path: &StorePath| {
            let mut hasher = DefaultHasher::new();
            path.base_name().hash(&mut hasher);
            hasher.finish().max(1)
        };
        Self(derivation.map(digest).unwrap_or_default())
    }
}

/// Counts over everything published.
#[derive(Debug, Default)]
pub(super) struct Outputs(Counts);

impl Outputs {
    pub(super) fn add(&mut self, deriver: Deriver) {
        if deriver != Deriver::default() {
            self.0.add(deriver.0);
        }
    }

    pub(super) fn remove(&mut self, deriver: Deriver) {
        self.0.remove(deriver.0);
    }

    pub(super) fn of(&self, deriver: Deriver) -> u32 {
        self.0.of(deriver.0)
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_of_one_derivation_are_counted() {
        let path = StorePath::parse_base_name("00bgd045z0d4icpbc2yyz4gx48ak44la-a.drv").unwrap();
        let (deriver, none) = (Deriver::of(Some(&path)), Deriver::of(None));
        let mut outputs = Outputs::default();
        for deriver in [deriver, none, deriver] {
            outputs.add(deriver);
        }
        assert_eq!((outputs.of(deriver), outputs.of(none)), (2, 0));
        outputs.remove(deriver);
        outputs.remove(none);
        assert_eq!(outputs.of(deriver), 1);
        outputs.remove(deriver);
        outputs.remove(deriver);
        assert_eq!(outputs.of(deriver), 0);
    }
}
