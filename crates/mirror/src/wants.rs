//! What is wanted here, by policies and by channels; everything else that is in the tree is a guest.

use std::sync::{Arc, PoisonError, RwLock};

use granary_nix::HashPart;

use crate::compact::HashParts;

/// Hash parts, shared.
pub type Set = Arc<HashParts>;

/// Both, as far as they are known.
#[derive(Debug, Default)]
pub struct Wants(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    policies: Option<Set>,
    channels: Option<Set>,
    refused: Option<Set>,
}

/// What was wanted at one moment.
#[derive(Clone, Debug)]
pub struct Wanted {
    policies: Set,
    channels: Set,
}

impl Wanted {
    /// Each of it, once.
    pub fn all(&self) -> impl Iterator<Item = HashPart> {
        let of_channels = self.channels.iter().filter(|hash| !self.policies.contains(hash));
        self.policies.iter().chain(of_channels)
    }

    /// Whether it was.
    #[must_use]
    pub fn has(&self, hash: &HashPart) -> bool {
        self.policies.contains(hash) || self.channels.contains(hash)
    }
}

impl Wants {
    /// What policies and storePaths want; `None` when that is not completely known.
    pub fn set_policies(&self, wanted: Option<HashParts>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).policies = wanted.map(Arc::new);
    }

    /// What the channels want; `None` when that is not completely known.
    pub fn set_channels(&self, wanted: Option<HashParts>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).channels = wanted.map(Arc::new);
    }

    /// The channels want this too: what the things that they list refer to. Until they say anew what they want.
    pub fn add_to_channels(&self, more: impl IntoIterator<Item = HashPart>) {
        if let Some(channels) = &mut self.0.write().unwrap_or_else(PoisonError::into_inner).channels {
            Arc::make_mut(channels).extend(more);
        }
    }

    /// What was refused of what the channels want; `None` when that is not completely known.
    pub fn set_refused(&self, refused: Option<HashParts>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).refused = refused.map(Arc::new);
    }

    /// This was refused too.
    pub fn add_refused(&self, more: impl IntoIterator<Item = HashPart>) {
        if let Some(refused) = &mut self.0.write().unwrap_or_else(PoisonError::into_inner).refused {
            Arc::make_mut(refused).extend(more);
        }
    }

    /// What was refused of what the channels want, so that its records stay; `None`: any of them may be.
    #[must_use]
    pub fn refused(&self) -> Option<Set> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).refused.clone()
    }

    /// All of it; `None` when a part is not known, so that nothing follows about what is not seen.
    #[must_use]
    pub fn now(&self) -> Option<Wanted> {
        let inner = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Wanted { policies: inner.policies.clone()?, channels: inner.channels.clone()? })
    }

    /// Whether a policy or a channel wants it, as far as they are known.
    #[must_use]
    pub fn may_want(&self, hash: &HashPart) -> bool {
        self.now().is_none_or(|wanted| wanted.has(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_unwanted_before_everything_is_known() {
        let hash = |name: char| name.to_string().repeat(32).parse::<HashPart>().unwrap();
        let wants = Wants::default();
        wants.set_policies(Some(HashParts::from([hash('a')])));
        assert!(wants.now().is_none() && wants.may_want(&hash('x')));
        wants.set_channels(Some(HashParts::from([hash('b')])));
        let now = wants.now().unwrap();
        assert!(now.has(&hash('a')) && now.has(&hash('b')) && !now.has(&hash('x')));
        assert!(!wants.may_want(&hash('x')));
        wants.set_policies(None);
        assert!(wants.may_want(&hash('x')));
    }

    #[test]
    fn what_comes_with_a_channel_counts_until_it_says_anew_what_it_wants() {
        let hash = |name: char| name.to_string().repeat(32).parse::<HashPart>().unwrap();
        let wants = Wants::default();
        wants.set_policies(Some(HashParts::default()));
        wants.add_to_channels([hash('a')]);
        assert!(wants.now().is_none(), "the channels have not said anything");
        wants.set_channels(Some(HashParts::from([hash('b')])));
        wants.add_to_channels([hash('a')]);
        assert!(wants.now().unwrap().has(&hash('a')) && wants.now().unwrap().has(&hash('b')));
        wants.set_channels(Some(HashParts::default()));
        assert!(!wants.now().unwrap().has(&hash('a')));
        wants.add_refused([hash('a')]);
        assert!(wants.refused().is_none(), "it is not known what else was");
        wants.set_refused(Some(HashParts::default()));
        wants.add_refused([hash('a')]);
        assert!(wants.refused().unwrap().contains(&hash('a')));
    }
}
