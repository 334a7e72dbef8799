//! One pass, step by step.
//!
//! * [`catalog`]: what it writes into the catalog, and what it then has to pull.
//! * [`refused`]: what becomes of what was pulled, and what is refused.
//! * [`end`]: what it leaves behind.
//! * [`disk`]: what it does on the disk.

mod catalog;
mod disk;
mod end;
mod refused;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use granary_fetch::{Fetcher, source};
use granary_placement::report::PolicyReport;

use super::demand;
use super::graph::Node;
use super::job::{Job, trust_of};
use super::memory::{Memory, Scope};
use super::obtain::{Context, Problem};
use super::outcome::{Observer, PassOutcome};
use super::plan::{self, Marks};
use super::pull;
use super::report::{PolicyState, Refusals, passes};
use super::resolve::{Closure, Need, resolve};
use crate::tree::Tree;

/// How often the observer is told of progress, at most.
const PROGRESS: Duration = Duration::from_millis(250);
/// How many times as long as it took to find the progress out nobody is told of any. Of a million artifacts it takes a while.
const REST: u32 = 20;

/// See [`super::Syncer::pass`].
pub(super) async fn run(
    tree: &Arc<Tree>,
    fetcher: &Fetcher,
    memory: &mut Memory,
    job: &Job,
    observer: &dyn Observer,
) -> PassOutcome {
    let mut sources = job.sources.clone();
    source::order(&mut sources);
    let trust = Arc::new(trust_of(&job.sources));
    memory.trust(&trust);
    let context = Context { tree: Arc::clone(tree), fetcher: fetcher.clone(), sources: sources.into() };
    let roots = job.policies.iter().flat_map(|policy| policy.roots.iter());
    let mut closure = resolve(&context, memory, &trust, roots, Need::Narinfos).await;
    if let Some(wants) = memory.wants.as_ref().filter(|_| memory.scope == Scope::Part) {
        // Before anything of it is published that nothing published refers to yet.
        wants.add_to_channels(closure.found().map(|node| memory.graph.hash(node)));
    } else if let Some(wants) = &memory.wants {
        let listed = demand::listed(job.policies.iter().map(|policy| &policy.roots));
        let known = job.is_known() && closure.unexplained(&listed).next().is_none();
        wants.set_policies(known.then(|| closure.hashes(&memory.graph)));
    }
    let order = plan::order(&memory.graph, &closure);
    let blamed = plan::blame(&memory.graph, &closure, &order);

    let mut pass = Pass::new(tree, memory, observer, job, &closure);
    pass.look().await;
    for (path, problem) in closure.lost.values() {
        pass.refuse(path, problem, problem.fault.is_transient(), false, Duration::ZERO);
    }
    for (node, blame) in order.iter().filter_map(|node| Some((*node, blamed.get(node)?))) {
        let path = pass.memory.graph.path(closure.asked(node)).filter(|_| pass.is_wanted_here(node));
        if let Some(path) = path {
            pass.refuse(&path, &Problem::from(blame), passes(blame.reason), false, Duration::ZERO);
        }
    }
    pass.settle(&closure);
    // What is published needs the catalog; what is only fetched does not wait for it.
    let catalog = pass.write_catalog(&closure, &order, &|node| !blamed.contains_key(&node));
    pass.progress();

    let (orders, board) = pass.orders(&mut closure, &order, |node| !blamed.contains_key(&node));
    drop((order, blamed));
    pass.queued(orders.len() as u64);
    pull::pull_all(&context, &trust, (orders, board), catalog, |pulled| pass.pulled(pulled)).await;
    let demand = demand::find_out(&context, pass.memory, &trust, job, &closure).await;
    pass.end(&context, job, &closure, demand).await
}

/// A pass over a resolved closure.
struct Pass<'p> {
    tree: &'p Arc<Tree>,
    memory: &'p mut Memory,
    observer: &'p dyn Observer,
    policies: Vec<PolicyState>,
    /// What this mirror holds by any policy.
    assigned: Marks,
    refusals: Refusals,
    outcome: PassOutcome,
    /// Artifacts that are left to get.
    queue: u64,
    disk_failed: Arc<AtomicBool>,
    /// Whether the catalog has been written, and nothing has followed from that yet.
    written: Arc<AtomicBool>,
    /// When the observer is told of progress again.
    tell: Instant,
}

impl<'p> Pass<'p> {
    fn new(
        tree: &'p Arc<Tree>,
        memory: &'p mut Memory,
        observer: &'p dyn Observer,
        job: &Job,
        closure: &Closure,
    ) -> Self {
        let state = |policy| PolicyState::new(policy, closure, memory, tree);
        let policies: Vec<PolicyState> = job.policies.iter().map(state).collect();
        let mut assigned = Marks::new(&memory.graph);
        for node in policies.iter().flat_map(|policy| &policy.assigned) {
            assigned.insert(*node);
        }
        let (refusals, outcome) = (Refusals::new(), PassOutcome::default());
        let (disk_failed, written) = Default::default();
        Self {
            tree,
            memory,
            observer,
            policies,
            assigned,
            refusals,
            outcome,
            disk_failed,
            written,
            queue: 0,
            tell: Instant::now(),
        }
    }

    /// Whether it is assigned to this mirror and not there.
    fn is_wanted_here(&self, node: Node) -> bool {
        self.assigned.has(node) && !self.tree.holds(&self.memory.graph.hash(node))
    }

    fn reports(&self, ended: bool) -> Vec<PolicyReport> {
        let report =
            |policy: &PolicyState| policy.report(&self.memory.graph, self.tree, &self.refusals, ended);
        self.policies.iter().map(report).collect()
    }

    fn queued(&mut self, artifacts: u64) {
        self.queue = artifacts;
        self.observer.queued(artifacts);
    }

    fn progress(&mut self) {
        let began = Instant::now();
        self.observer.progress(&self.reports(false));
        let now = Instant::now();
        self.tell = now + PROGRESS.max(now.saturating_duration_since(began).saturating_mul(REST));
    }
}
