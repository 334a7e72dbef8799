//! What was refused of what clients ask for and push. No pass looks at it again: a refusal stands until the artifact comes
//! right, and for a day at most.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use granary_nix::HashPart;
use granary_placement::report::Refusal;

use crate::journal;
use crate::metrics::Metrics;
use crate::tree::Tree;

/// Refusals that are remembered.
const MOST: usize = 256;
/// How long one stands.
const LONGEST: Duration = Duration::from_hours(24);

/// What of an artifact was bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    /// Its narinfo.
    NarInfo,
    /// Its NAR file, or something that it needs.
    Nar,
}

/// A refusal that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The artifact's.
    pub hash: HashPart,
    /// What of it was bad.
    pub bad: Bad,
    /// What and why.
    pub refusal: Refusal,
    /// When it was refused last.
    pub at: Instant,
}

/// Those that stand, newest first.
#[derive(Debug, Default)]
struct List(VecDeque<Standing>);

impl List {
    /// Whether the artifact was on it before, and what leaves it for the new one.
    fn add(&mut self, new: Standing) -> (bool, Option<HashPart>) {
        let before = self.0.len();
        self.0.retain(|other| other.hash != new.hash);
        let again = before > self.0.len();
        self.0.push_front(new);
        let leaving = if self.0.len() > MOST { self.0.pop_back() } else { None };
        (again, leaving.map(|leaving| leaving.hash))
    }

    /// This part of the artifact is good. A good narinfo says nothing about its NAR file.
    fn accept(&mut self, hash: &HashPart, good: Bad) {
        self.0.retain(|other| other.hash != *hash || (good == Bad::NarInfo && other.bad == Bad::Nar));
    }

    /// Forgets what is too old, and what is here by now.
    fn prune(&mut self, now: Instant, is_here: impl Fn(&HashPart) -> bool) {
        self.0.retain(|one| now.saturating_duration_since(one.at) < LONGEST && !is_here(&one.hash));
    }
}

/// Tells log, metrics, report and quarantine of refusals, and remembers those that stand.
#[derive(Debug)]
pub struct Refusals {
    tree: Arc<Tree>,
    metrics: Arc<Metrics>,
    list: Mutex<List>,
}

impl Refusals {
    /// For artifacts of this tree.
    #[must_use]
    pub fn new(tree: Arc<Tree>, metrics: Arc<Metrics>) -> Self {
        Self { tree, metrics, list: Mutex::default() }
    }

    /// An artifact is refused, of which this is bad, after so long. Must be called within the runtime.
    pub fn refuse(&self, hash: HashPart, bad: Bad, refusal: Refusal, took: Duration) {
        self.metrics.refusal(refusal.reason);
        let Refusal { store_path, reason, message, source } = &refusal;
        if self.tree.holds(&hash) {
            journal::refused(store_path, reason, message, source, took, false);
            return;
        }
        let new = Standing { hash, bad, refusal: refusal.clone(), at: Instant::now() };
        let (again, leaving) = self.list().add(new);
        journal::refused(store_path, reason, message, source, took, again);
        let tree = Arc::clone(&self.tree);
        // Nobody waits for a record.
        tokio::task::spawn_blocking(move || {
            let gone = leaving.map_or(Ok(()), |leaving| tree.take_from_quarantine(&leaving));
            if let Err(error) = gone.and_then(|()| tree.put_in_quarantine(&hash, &refusal)) {
                tracing::error!(%error, "cannot write the quarantine");
            }
        });
    }

    /// This part of the artifact has come as it should be.
    pub fn accept(&self, hash: &HashPart, good: Bad) {
        self.list().accept(hash, good);
    }

    /// Those that stand, newest first.
    #[must_use]
    pub fn standing(&self) -> Vec<Standing> {
        let mut list = self.list();
        list.prune(Instant::now(), |hash| self.tree.holds(hash));
        list.0.iter().cloned().collect()
    }

    /// Whether a refusal of the artifact stands.
    #[must_use]
    pub fn stands(&self, hash: &HashPart) -> bool {
        let mut list = self.list();
        list.prune(Instant::now(), |_| false);
        list.0.iter().any(|one| one.hash == *hash) && !self.tree.holds(hash)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Whole after each single operation, so that a thread that panicked left no damage.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use granary_nix::Hash;
    use granary_placement::report::RefusalReason;

    use super::*;

    fn standing(number: usize, bad: Bad, at: Instant) -> Standing {
        let hash: HashPart = Hash::of(&number.to_le_bytes()).to_nix32()[..32].parse().unwrap();
        let (reason, message, source) = (RefusalReason::NarHash, String::new(), String::new());
        Standing { hash, bad, refusal: Refusal { store_path: hash.to_string(), reason, message, source }, at }
    }

    #[test]
    fn the_newest_are_remembered_within_a_bound() {
        let (mut list, now) = (List::default(), Instant::now());
        for number in 0..MOST {
            assert_eq!(list.add(standing(number, Bad::Nar, now)), (false, None));
        }
        assert_eq!(list.add(standing(0, Bad::Nar, now)), (true, None), "it is the newest again");
        let eldest = standing(1, Bad::Nar, now).hash;
        assert_eq!(list.add(standing(MOST, Bad::Nar, now)), (false, Some(eldest)));
        assert_eq!(list.0.len(), MOST);
        assert_eq!(list.0[1].hash, standing(0, Bad::Nar, now).hash);
    }

    #[test]
    fn what_comes_right_what_is_here_and_what_is_old_stands_no_longer() {
        let (mut list, now) = (List::default(), Instant::now());
        let [nar, narinfo] = [standing(0, Bad::Nar, now), standing(1, Bad::NarInfo, now)];
        list.add(nar.clone());
        list.add(narinfo.clone());
        list.accept(&nar.hash, Bad::NarInfo);
        assert_eq!(list.0.len(), 2, "its narinfo was never the trouble");
        list.accept(&narinfo.hash, Bad::NarInfo);
        assert!(list.0.iter().eq([&nar]));
        list.prune(now + LONGEST / 2, |_| false);
        assert_eq!(list.0.len(), 1);
        list.prune(now + LONGEST, |_| false);
        assert!(list.0.is_empty());
        list.add(nar.clone());
        list.prune(now, |hash| *hash == nar.hash);
        assert!(list.0.is_empty());
        list.add(nar.clone());
        list.accept(&nar.hash, Bad::Nar);
        assert!(list.0.is_empty());
    }
}
