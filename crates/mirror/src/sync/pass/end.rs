//! What a pass leaves behind: its report, its memory, and a quarantine and a catalog that agree with what it found.

use std::sync::atomic::Ordering;

use granary_fetch::{Source, SourceKind};
use granary_placement::report::{PolicyReport, UpstreamReport};

use super::Pass;
use crate::compact::HashParts;
use crate::sync::job::Job;
use crate::sync::memory::Scope;
use crate::sync::obtain::Context;
use crate::sync::outcome::{Demand, PassOutcome};
use crate::sync::plan;
use crate::sync::resolve::Closure;

impl Pass<'_> {
    pub(super) async fn end(
        mut self,
        context: &Context,
        job: &Job,
        closure: &Closure,
        demand: Demand,
    ) -> PassOutcome {
        let now = jiff::Timestamp::now();
        self.forget_written();
        for policy in &mut self.policies {
            policy.end(self.memory, self.tree, now);
        }
        self.outcome.policies = self.reports(true);
        // Last: what it forgets has no number any more.
        self.clean(job, closure, demand.known()).await;
        self.outcome.demand = match demand {
            Demand::Known(_) if self.disk_failed.load(Ordering::Relaxed) => {
                Demand::Unknown("the disk failed".into())
            }
            demand => demand,
        };
        for PolicyReport { name, assigned, verified, refused, synced, .. } in &self.outcome.policies {
            tracing::debug!(policy = name, assigned, verified, refused, synced, "a policy after the pass");
        }
        for (policy, state) in job.policies.iter().zip(&self.policies) {
            self.memory.policies.insert(policy.name.clone(), state.last());
        }
        self.outcome.refused = self.refusals.into_values().map(|refused| refused.refusal).collect();
        self.outcome.refused.sort_by(|one, other| one.store_path.cmp(&other.store_path));
        let upstreams = context.sources.iter().filter(|source| source.kind == SourceKind::Upstream);
        let upstream = |source: &Source| {
            let message = context.fetcher.trouble(source);
            UpstreamReport { url: source.url.to_string(), ok: message.is_none(), message }
        };
        self.outcome.upstreams = upstreams.map(upstream).collect();
        self.outcome
    }

    /// Brings quarantine and catalog to what this pass found, unless it could not find out everything.
    async fn clean(&mut self, job: &Job, closure: &Closure, demand: Option<&HashParts>) {
        let scope = self.memory.scope;
        if scope == Scope::Part {
            // The next job has others, and those of this one are on disk now.
            self.memory.forget_narinfos();
            return;
        }
        let refused: Vec<_> =
            self.refusals.iter().map(|(hash, refused)| (*hash, refused.refusal.clone())).collect();
        self.disk("write the quarantine", move |tree| {
            tree.put_in_quarantine(refused.iter().map(|(hash, refusal)| (hash, refusal)))
        })
        .await;
        if !job.is_known() || closure.lost.values().any(|(_, problem)| problem.fault.is_transient()) {
            return;
        }
        let mut refused: HashParts = self.refusals.keys().copied().collect();
        let graph = &self.memory.graph;
        let members = || self.policies.iter().flat_map(|policy| &policy.members).copied();
        let good = members().filter(|node| closure.has(*node) && !refused.contains(&graph.hash(*node)));
        // What stands in the tree keeps all that it needs.
        let kept: HashParts =
            plan::members(graph, closure, good).into_iter().map(|node| graph.hash(node)).collect();
        let names = job.policies.iter().map(|policy| policy.name.as_str()).collect();
        let wanted;
        let wanted = if let Some(demand) = demand {
            demand
        } else {
            wanted = members().map(|node| graph.hash(node)).collect();
            &wanted
        };
        self.memory.keep(wanted, &names);
        let (wants, beside) = (self.memory.wants.clone(), self.memory.refusals.clone());
        self.disk("tidy up", move |tree| {
            tree.prune_quarantine(|| {
                // What the channels refused has its records too; as long as that is not known, none goes.
                if let Some(wants) = wants {
                    refused.extend(wants.refused()?.iter());
                }
                let others = beside.map(|beside| beside.beside_passes()).unwrap_or_default();
                refused.extend(others.iter());
                Some(refused)
            })?;
            if scope == Scope::Shared { Ok(()) } else { tree.prune_catalog(&kept).map(drop) }
        })
        .await;
    }
}
