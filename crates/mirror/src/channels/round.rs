//! Rounds over the channels: what came of one, and who watches.

use std::collections::HashSet;

use granary_nix::{HashPart, StorePath};
use granary_placement::report::Refusal;

use super::{Channels, Standing};
use crate::sync::{Assigned, Job, Observer, PassOutcome, PolicyJob};

/// What came of a round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Artifacts that it published.
    pub published: u64,
    /// Bytes of their NAR files.
    pub published_bytes: u64,
    /// What was refused and is not here, whether a channel lists it or something refers to it.
    pub refused: HashSet<HashPart>,
    /// Whether some of the channels were not gone through to their ends, so that more of what was refused before may still be.
    pub cut: bool,
}

/// Who watches rounds: their passes, as [`Observer`], and what is around these.
pub trait Watcher: Observer {
    /// A round begins.
    fn began(&self) {}

    /// Something has ended that is no pass, such as the look at a list.
    fn moved(&self) {}

    /// The round has ended.
    fn ended(&self, outcome: &Outcome) {
        let _ = outcome;
    }
}

/// Watches nothing.
impl Watcher for () {}

/// A round that runs.
pub(super) struct Round<'w> {
    pub(super) watcher: &'w dyn Watcher,
    pub(super) outcome: Outcome,
}

impl Channels {
    /// One pass over a part of what a channel wants. What it refuses is recorded.
    pub(super) async fn pass(
        &self,
        standing: &Standing,
        roots: &[StorePath],
        round: &mut Round<'_>,
    ) -> PassOutcome {
        let policy = PolicyJob {
            name: standing.channel.name.clone(),
            roots: roots.iter().cloned().collect(),
            assigned: Assigned::All,
        };
        let job = Job { policies: vec![policy], sources: self.sources.clone(), ..Job::default() };
        let outcome = self.syncer.pass(&job, round.watcher).await;
        round.outcome.published += outcome.published;
        round.outcome.published_bytes += outcome.published_bytes;
        let hash = |refusal: &Refusal| Some(StorePath::parse(&refusal.store_path).ok()?.hash_part());
        let refused: Vec<(HashPart, Refusal)> =
            outcome.refused.iter().filter_map(|refusal| Some((hash(refusal)?, refusal.clone()))).collect();
        if !refused.is_empty() {
            // Known before it is written, so that no pass over the policies tidies it away.
            self.wants.add_refused(refused.iter().map(|(hash, _)| *hash));
            round.outcome.refused.extend(refused.iter().map(|(hash, _)| *hash));
            self.record(refused, round.watcher).await;
        }
        outcome
    }

    async fn record(&self, refused: Vec<(HashPart, Refusal)>, watcher: &dyn Watcher) {
        let write = move |tree: &crate::tree::Tree| {
            tree.put_in_quarantine(refused.iter().map(|(hash, refusal)| (hash, refusal)))
        };
        if let Some(Err(error)) = self.blocking(watcher, write).await {
            tracing::error!(%error, "cannot write the quarantine");
        }
    }
}
