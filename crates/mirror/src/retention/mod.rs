//! Retention: what nobody wants any more goes to the trash after a grace, and is gone after a time there.
//!
//! * [`machine`]: when. Pure.
//! * [`Retention`]: does it.
//!
//! Without rules nothing is ever deleted. What a policy wants is never deleted either, wherever the
//! placement puts it: that needs the consent of the other holders.

pub mod machine;

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_nix::HashPart;
use tracing::{info, warn};

use crate::compact::HashParts;
use crate::tree::{Tree, TreeError};
use machine::{Here, Machine, Rules, Steps};

/// Where the machine's state is kept, below `.granary`.
const STATE: &str = "retention.json";
/// How often the count is kept when nothing else changes. A restart loses so much of it at most.
const KEEP_EVERY: Duration = Duration::from_mins(10);
/// Artifacts that are taken out in one go, while nothing can be published.
const BATCH: usize = 256;

/// What retention has done after a pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Published artifacts that nobody wants, the grace of some of which may be over.
    pub unwanted: u64,
    /// Artifacts in the trash with their NAR files.
    pub trashed: u64,
    /// Bytes of these NAR files. Two artifacts with one NAR file count it twice.
    pub trashed_bytes: u64,
    /// Artifacts that were taken out now.
    pub taken_out: u64,
    /// Artifacts whose NAR files were removed from the trash now.
    pub emptied: u64,
}

/// Retention in one tree.
#[derive(Debug)]
pub struct Retention {
    tree: Arc<Tree>,
    machine: Machine,
    started: Instant,
    kept: Duration,
}

impl Retention {
    /// Goes on from what was kept on disk. A document that cannot be read is one that is not there: every period begins
    /// anew.
    #[must_use]
    pub fn open(tree: Arc<Tree>) -> Self {
        let seen = tree.state(STATE).map(|json| serde_json::from_slice(&json));
        let seen = match seen {
            Some(Ok(seen)) => seen,
            None => machine::Seen::default(),
            Some(Err(error)) => {
                warn!(%error, "the state of retention cannot be read; every period begins anew");
                machine::Seen::default()
            }
        };
        Self { tree, machine: Machine::new(seen), started: Instant::now(), kept: Duration::ZERO }
    }

    /// A pass has ended. `wanted` is everything that anybody wants, `None` when that is not completely known. Blocks.
    ///
    /// What cannot be done now is tried after the next pass.
    pub fn after_pass(&mut self, rules: Rules, wanted: Option<&HashParts>) -> Outcome {
        self.step(rules, wanted, self.started.elapsed())
    }

    /// The same at a given time since the start.
    pub fn step(&mut self, rules: Rules, wanted: Option<&HashParts>, now: Duration) -> Outcome {
        // What was pushed or imported stays, and what it refers to stays with it.
        let mut published = self.tree.published_hashes();
        published.retain(|hash| !self.tree.is_kept(hash));
        let trashed: Vec<(HashPart, bool)> =
            self.tree.trashed().into_iter().map(|(hash, nar)| (hash, nar.is_some())).collect();
        let here = Here { published: &published, trashed: &trashed, wanted };
        let Steps { take_out, empty, forget, changed } = self.machine.step(rules, here, now);
        let mut outcome = Outcome { unwanted: self.machine.unwanted() as u64, ..Outcome::default() };
        for batch in take_out.chunks(BATCH) {
            match self.tree.remove_all(batch) {
                Ok(gone) => {
                    for artifact in &gone {
                        info!(%artifact, "nobody wants it any more: taken out, into the trash");
                    }
                    outcome.taken_out += gone.len() as u64;
                }
                Err(error) => warn!(%error, "cannot take artifacts out that nobody wants any more"),
            }
        }
        outcome.emptied = self.each(&empty, "remove from the trash", Tree::empty_trash_of);
        self.each(&forget, "forget", Tree::remove_from_trash);
        if wanted.is_some() && (changed || now.saturating_sub(self.kept) >= KEEP_EVERY) {
            self.keep(now);
        }
        for bytes in self.tree.trashed().into_iter().filter_map(|(_, bytes)| bytes) {
            outcome.trashed += 1;
            outcome.trashed_bytes += bytes;
        }
        outcome
    }

    fn each(
        &self,
        all: &[HashPart],
        action: &'static str,
        work: impl Fn(&Tree, &HashPart) -> Result<(), TreeError>,
    ) -> u64 {
        let mut done = 0;
        for artifact in all {
            match work(&self.tree, artifact) {
                Ok(()) => done += 1,
                Err(error) => warn!(%artifact, %error, "cannot {action}"),
            }
        }
        done
    }

    fn keep(&mut self, now: Duration) {
        let json = serde_json::to_vec(self.machine.seen()).unwrap_or_default();
        match self.tree.keep_state(STATE, &json) {
            Ok(()) => self.kept = now,
            Err(error) => {
                warn!(%error, "the state of retention cannot be kept; a restart lengthens every period");
            }
        }
    }
}
