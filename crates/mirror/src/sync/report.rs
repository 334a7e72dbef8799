//! The reports of the policies, from the state of the tree and of the pass.

use std::collections::{HashMap, HashSet};

use granary_fetch::Fault;
use granary_nix::{Hash, HashPart, StorePath};
use granary_placement::report::{CatalogReport, PolicyReport, Refusal, RefusalReason};

use sha2::{Digest as _, Sha256};

use super::demand;
use super::graph::{Graph, Node};
use super::job::PolicyJob;
use super::memory::{LastReport, Memory};
use super::plan;
use super::resolve::Closure;
use crate::tree::Tree;

/// A refusal of this pass.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    /// Whether a later pass may find it good without anybody doing anything.
    pub(super) transient: bool,
}

/// Everything refused in this pass.
pub(super) type Refusals = HashMap<HashPart, Refused>;

/// One policy in one pass.
#[derive(Debug)]
pub(super) struct PolicyState {
    name: String,
    /// The closure, sorted.
    pub(super) members: Vec<Node>,
    /// Those of them that this mirror holds.
    pub(super) assigned: Vec<Node>,
    catalog_error: Option<String>,
    /// Whether a part of the closure may be unknown.
    partial: bool,
    last: LastReport,
}

impl PolicyState {
    pub(super) fn new(job: &PolicyJob, closure: &Closure, memory: &Memory, tree: &Tree) -> Self {
        let (graph, last) = (&memory.graph, memory.policies.get(&job.name).cloned().unwrap_or_default());
        let roots = job.roots.iter().filter_map(|root| graph.node_of(&root.hash_part()));
        let members = plan::members(graph, closure, roots);
        let assigned =
            members.iter().filter(|node| job.assigned.contains(&graph.hash(**node))).copied().collect();
        // What only a channel lists, and nobody has, is refused and does not make the closure doubtful.
        let only_listed = demand::listed([&job.roots]);
        let unexplained: HashSet<&StorePath> =
            closure.unexplained(&only_listed).map(|(path, _)| path).collect();
        let mut unresolved: Vec<_> = members
            .iter()
            .filter_map(|node| closure.lost.get(node))
            .filter(|(path, _)| unexplained.contains(path))
            .collect();
        unresolved.sort_by_key(|(path, problem)| (!problem.fault.is_transient(), path.clone()));
        let catalog_error = job.roots.unknown.clone().or_else(|| {
            let (path, problem) = unresolved.first()?;
            let (count, all, Fault { reason, message }) = (unresolved.len(), members.len(), &problem.fault);
            Some(format!(
                "{count} of {all} store paths cannot be resolved, such as {path}: {reason}: {message}"
            ))
        });
        let partial = job.roots.unknown.is_some()
            || unresolved.first().is_some_and(|(_, problem)| problem.fault.is_transient());
        let mut state = Self { name: job.name.clone(), members, assigned, catalog_error, partial, last };
        if !partial {
            state.last.catalog = Some(state.catalog(memory, tree));
        }
        state
    }

    /// For the next pass.
    pub(super) fn last(&self) -> LastReport {
        self.last.clone()
    }

    fn catalog(&self, memory: &Memory, tree: &Tree) -> CatalogReport {
        // Of their hash parts, a line for each, without an end of the last line.
        let (mut digest, mut bytes, mut end) = (Sha256::new(), 0, "");
        for hash in self.members.iter().map(|node| memory.graph.hash(*node)) {
            digest.update(end);
            digest.update(hash.as_str());
            end = "\n";
            let size = tree.file_size(&hash).or_else(|| memory.file_size(&hash, tree));
            bytes += size.unwrap_or_default();
        }
        let digest = Hash::from_bytes(digest.finalize().into()).to_hex();
        CatalogReport { artifacts: self.members.len() as u64, digest, bytes }
    }

    /// The pass is over.
    pub(super) fn end(&mut self, memory: &Memory, tree: &Tree, now: jiff::Timestamp) {
        self.last.ended = Some(now.to_string());
        // NAR files have sizes now that no narinfo stated.
        if !self.partial {
            self.last.catalog = Some(self.catalog(memory, tree));
        }
    }

    /// The state now; `ended` says that the pass is over.
    pub(super) fn report(
        &self,
        graph: &Graph,
        tree: &Tree,
        refusals: &Refusals,
        ended: bool,
    ) -> PolicyReport {
        let mut report = PolicyReport {
            name: self.name.clone(),
            catalog: self.last.catalog.clone(),
            catalog_error: self.catalog_error.clone(),
            assigned: self.assigned.len() as u64,
            verified: 0,
            verified_bytes: 0,
            refused: 0,
            refusal: None,
            last_pass: self.last.ended.clone(),
            synced: false,
        };
        let mut settled = !self.partial;
        let mut refusal: Option<&Refusal> = None;
        for hash in self.assigned.iter().map(|node| graph.hash(*node)) {
            if let Some(bytes) = tree.file_size(&hash) {
                report.verified += 1;
                report.verified_bytes += bytes;
            } else if let Some(refused) = refusals.get(&hash) {
                report.refused += 1;
                settled &= !refused.transient;
                if refusal.is_none_or(|shown| tells_more(&refused.refusal, shown)) {
                    refusal = Some(&refused.refusal);
                }
            } else {
                settled = false;
            }
        }
        report.refusal = refusal.cloned();
        report.synced = ended && settled;
        report
    }
}

/// Whether a refusal is the one to show: a cause rather than what follows from it, and always the same one.
fn tells_more(one: &Refusal, shown: &Refusal) -> bool {
    let rank = |refusal: &Refusal| refusal.reason == RefusalReason::MissingReference;
    (rank(one), &one.store_path) < (rank(shown), &shown.store_path)
}

/// The report's word for a problem.
pub(super) fn refused(path: &StorePath, fault: &Fault, source: &str, transient: bool) -> Refused {
    let refusal = Refusal {
        store_path: path.to_string(),
        reason: fault.reason,
        message: fault.message.clone(),
        source: source.to_owned(),
    };
    Refused { refusal, transient }
}

/// Whether what needs an artifact with this fault may be had later.
pub(super) fn passes(reason: RefusalReason) -> bool {
    Fault::new(reason, "").is_transient()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_shown_before_what_follows_from_it() {
        let refusal = |path: &str, reason| Refusal {
            store_path: path.into(),
            reason,
            message: String::new(),
            source: String::new(),
        };
        let follows = refusal("a", RefusalReason::MissingReference);
        let (one, two) = (refusal("b", RefusalReason::NarHash), refusal("c", RefusalReason::NotFound));
        assert!(tells_more(&one, &follows) && !tells_more(&follows, &one));
        assert!(tells_more(&one, &two) && !tells_more(&two, &one));
        assert!(!tells_more(&one, &one));
    }
}
