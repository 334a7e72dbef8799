//! What was refused and still is, wherever that was met. Report, metrics and status page are made from it, and the quarantine
//! keeps the records of it.

mod list;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use granary_nix::{HashPart, StorePath};
use granary_placement::report::Refusal;

use crate::compact::HashParts;
use crate::journal;
use crate::metrics::Metrics;
use crate::tree::Tree;
use list::{List, Standing};

pub use list::Origin;

/// Tells metrics, report and quarantine of refusals, and remembers those that stand.
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

    /// A pass or a round refused something, which log and quarantine hear from itself. `again`: it had refused it before.
    pub fn met(&self, origin: Origin, refusal: &Refusal, again: bool) {
        self.metrics.refusal(refusal.reason);
        if let Some(new) = standing(origin, refusal).filter(|new| !self.tree.holds(&new.hash)) {
            self.list().add(new, again);
        }
    }

    /// A pass over the policies has ended: of these, the refusals stand, and no others.
    pub fn pass_ended(&self, refused: &[Refusal]) {
        let stand = || refused.iter().filter_map(|refusal| standing(Origin::Pass, refusal));
        let mut list = self.list();
        list.ended(Origin::Pass, &stand().map(|one| one.hash).collect(), false);
        // In the place of what stands no longer.
        for one in stand() {
            if list.is_full(Origin::Pass) {
                break;
            }
            list.add(one, true);
        }
    }

    /// A round over the channels has ended. `cut`: it did not try everything, so that what it did not refuse may still be
    /// refused.
    pub fn round_ended(&self, refused: &HashSet<HashPart>, cut: bool) {
        self.list().ended(Origin::Channel, refused, cut);
    }

    /// What a client asked for or pushed is refused, after so long. Must be called within the runtime.
    pub fn refuse(&self, origin: Origin, hash: HashPart, refusal: Refusal, took: Duration) {
        self.metrics.refusal(refusal.reason);
        let Refusal { store_path, reason, message, source } = &refusal;
        if self.tree.holds(&hash) {
            journal::refused(store_path, reason, message, source, took, false);
            return;
        }
        let new = Standing { hash, origin, refusal: refusal.clone(), at: Instant::now() };
        let (again, leaving) = self.list().add(new, false);
        journal::refused(store_path, reason, message, source, took, again);
        let tree = Arc::clone(&self.tree);
        // Nobody waits for a record.
        tokio::task::spawn_blocking(move || {
            let gone = leaving.map_or(Ok(()), |leaving| tree.take_from_quarantine(&leaving));
            if let Err(error) = gone.and_then(|()| tree.put_in_quarantine([(&hash, &refusal)])) {
                tracing::error!(%error, "cannot write the quarantine");
            }
        });
    }

    /// A client was given this part of the artifact as it should be.
    pub fn accept(&self, hash: &HashPart, good: Origin) {
        self.list().accept(hash, good);
    }

    /// The newest of those that stand, so many at most, newest first and each artifact once; and how many artifacts there are.
    #[must_use]
    pub fn newest(&self, most: usize) -> (Vec<Refusal>, u64) {
        let mut list = self.list();
        list.prune(Instant::now(), |hash| self.tree.holds(hash));
        list.newest(most)
    }

    /// The artifacts of which refusals stand that no pass decides, so that their records stay when a pass tidies up.
    #[must_use]
    pub fn beside_passes(&self) -> HashParts {
        let mut list = self.list();
        list.prune(Instant::now(), |hash| self.tree.holds(hash));
        list.hashes(|origin| origin != Origin::Pass)
    }

    fn list(&self) -> MutexGuard<'_, List> {
        // Whole after each single operation, so that a thread that panicked left no damage.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a pass or a round tells of is told by its path.
fn standing(origin: Origin, refusal: &Refusal) -> Option<Standing> {
    let hash = StorePath::parse(&refusal.store_path).ok()?.hash_part();
    Some(Standing { hash, origin, refusal: refusal.clone(), at: Instant::now() })
}
