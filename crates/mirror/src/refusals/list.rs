//! The refusals that stand, in a bounded list. Pure.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use granary_nix::HashPart;
use granary_placement::report::Refusal;

use crate::compact::HashParts;

/// Refusals of one origin that are remembered: a channel can list a hundred thousand paths that nobody has, and clients can
/// ask for as many.
const MOST: usize = 256;
/// How long one stands that neither a pass nor a round looks at again.
const LONGEST: Duration = Duration::from_hours(24);

/// Where an artifact was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// In a pass over the policies.
    Pass,
    /// In a round over the mirror's own channels.
    Channel,
    /// A client asked for its narinfo.
    NarInfo,
    /// A client asked for its NAR file.
    Nar,
    /// A client pushed it.
    Push,
}

impl Origin {
    /// Whether it is tried again without anybody asking, and what stands of it is told each time.
    fn is_ours(self) -> bool {
        matches!(self, Self::Pass | Self::Channel)
    }
}

/// A refusal that stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The artifact's.
    pub(super) hash: HashPart,
    pub(super) origin: Origin,
    pub(super) refusal: Refusal,
    pub(super) at: Instant,
}

/// Those that stand.
#[derive(Debug, Default)]
pub(super) struct List {
    /// Newest first; [`MOST`] of each origin.
    newest: VecDeque<Standing>,
    /// What else stands of what passes and rounds refused.
    more: BTreeMap<Origin, HashParts>,
}

impl List {
    /// `known`: it stood before, and is not new. Whether it was on the list; and what left it and is refused by nobody any more.
    pub(super) fn add(&mut self, new: Standing, known: bool) -> (bool, Option<HashPart>) {
        let (hash, origin) = (new.hash, new.origin);
        let place = self.newest.iter().position(|one| one.origin == origin && one.hash == hash);
        if let Some(place) = place {
            self.newest.remove(place);
        }
        let full = self.is_full(origin);
        match place {
            Some(place) if known => self.newest.insert(place, new),
            // It is counted, and takes nobody's place.
            None if known && full => {
                if origin.is_ours() {
                    self.more.entry(origin).or_default().insert(hash);
                }
            }
            None => {
                if let Some(more) = self.more.get_mut(&origin) {
                    more.remove(&hash);
                }
                if known {
                    self.newest.push_back(new);
                } else {
                    self.newest.push_front(new);
                }
            }
            Some(_) => self.newest.push_front(new),
        }
        let eldest = if full && !known {
            let eldest = self.newest.iter().rposition(|one| one.origin == origin);
            eldest.and_then(|eldest| self.newest.remove(eldest)).map(|eldest| eldest.hash)
        } else {
            None
        };
        // What clients are refused is forgotten when it leaves.
        if let Some(eldest) = eldest.filter(|_| origin.is_ours()) {
            self.more.entry(origin).or_default().insert(eldest);
        }
        let is_refused =
            |hash: &HashPart| self.has(hash) || self.more.values().any(|more| more.contains(hash));
        (place.is_some(), eldest.filter(|hash| !is_refused(hash)))
    }

    /// Whether another one of this origin makes the eldest leave.
    pub(super) fn is_full(&self, origin: Origin) -> bool {
        self.newest.iter().filter(|one| one.origin == origin).count() >= MOST
    }

    /// What is refused by this origin was gone through: these stand. `cut`: not all of it was, so that others may still stand.
    pub(super) fn ended(&mut self, origin: Origin, stand: &HashSet<HashPart>, cut: bool) {
        self.newest.retain(|one| one.origin != origin || cut || stand.contains(&one.hash));
        let mut more = self.more.remove(&origin).filter(|_| cut).unwrap_or_default();
        more.extend(stand.iter().copied());
        for one in self.newest.iter().filter(|one| one.origin == origin) {
            more.remove(&one.hash);
        }
        if !more.is_empty() {
            self.more.insert(origin, more);
        }
    }

    /// A client was given this part of the artifact. A good narinfo says nothing about its NAR file.
    pub(super) fn accept(&mut self, hash: &HashPart, good: Origin) {
        let of_nar = |origin: Origin| origin != Origin::NarInfo;
        self.newest
            .retain(|one| one.hash != *hash || one.origin.is_ours() || (!of_nar(good) && of_nar(one.origin)));
    }

    /// Forgets what is here by now, whoever refused it, and what is too old.
    pub(super) fn prune(&mut self, now: Instant, is_here: impl Fn(&HashPart) -> bool) {
        let is_old = |at| now.saturating_duration_since(at) >= LONGEST;
        self.newest.retain(|one| (one.origin.is_ours() || !is_old(one.at)) && !is_here(&one.hash));
    }

    /// Whether it is on the list.
    fn has(&self, hash: &HashPart) -> bool {
        self.newest.iter().any(|one| one.hash == *hash)
    }

    /// What is on the list by such an origin.
    pub(super) fn hashes(&self, by: impl Fn(Origin) -> bool) -> HashParts {
        self.newest.iter().filter(|one| by(one.origin)).map(|one| one.hash).collect()
    }

    /// How many artifacts are refused beyond those that are `told`, each counted once.
    fn beyond(&self, told: impl Fn(&HashPart) -> bool) -> u64 {
        let mut earlier: Vec<&HashParts> = Vec::new();
        let mut count = 0;
        for more in self.more.values() {
            let is_new = |hash: &HashPart| !told(hash) && !earlier.iter().any(|other| other.contains(hash));
            count += more.iter().filter(is_new).count() as u64;
            earlier.push(more);
        }
        count
    }

    /// So many at most, newest first, each artifact once, as a pass or a round says if it says anything: these know its path.
    /// And how many artifacts there are.
    pub(super) fn newest(&self, most: usize) -> (Vec<Refusal>, u64) {
        let mut told: HashMap<&HashPart, &Standing> = HashMap::new();
        for one in &self.newest {
            let told = told.entry(&one.hash).or_insert(one);
            if one.origin.is_ours() && !told.origin.is_ours() {
                *told = one;
            }
        }
        let all = told.len() as u64 + self.beyond(|hash| told.contains_key(hash));
        let newest = self.newest.iter().filter_map(|one| told.remove(&one.hash));
        (newest.take(most).map(|one| one.refusal.clone()).collect(), all)
    }
}

#[cfg(test)]
mod tests;
