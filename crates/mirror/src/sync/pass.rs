//! One pass, step by step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use granary_fetch::{Fetcher, SourceKind, source};
use granary_nix::{HashPart, NarInfo, StorePath};
use granary_placement::report::{PolicyReport, RefusalReason, UpstreamReport};

use super::board::Board;
use super::demand;
use super::graph::Node;
use super::job::{Job, trust_of};
use super::memory::{Memory, Scope};
use super::obtain::{Context, Problem};
use super::outcome::{Demand, Observer, PassOutcome};
use super::plan::{self, Blame, Marks};
use super::pull::{self, Got, Order, Pulled};
use super::report::{PolicyState, Refusals, passes, refused};
use super::resolve::{Closure, Need, resolve};
use crate::compact::HashParts;
use crate::journal;
use crate::tree::{Tree, TreeError};

/// How often the observer is told of progress, at most.
const PROGRESS: Duration = Duration::from_millis(250);
/// How many times as long as it took to find the progress out nobody is told of any. Of a million artifacts it takes a while.
const REST: u32 = 20;

/// Artifacts that are looked at before the observer hears that the pass moves.
const LOOK: usize = 4096;

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

/// Whether a reference that is to blame may come right by itself.
fn needs_transient(problem: &Problem) -> bool {
    problem.blame.as_ref().is_some_and(|Blame { culprit: _, reason }| passes(*reason))
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

    /// Looks whether what was published is still there.
    async fn look(&self) {
        let assigned: Vec<Node> = self.assigned.iter().collect();
        for some in assigned.chunks(LOOK) {
            let some: Vec<HashPart> = some.iter().map(|node| self.memory.graph.hash(*node)).collect();
            self.blocking(move |tree| {
                for hash in some.iter().filter(|hash| tree.holds(hash)) {
                    tree.still_holds(hash);
                }
            })
            .await;
        }
    }

    /// Whether it is assigned to this mirror and not there.
    fn is_wanted_here(&self, node: Node) -> bool {
        self.assigned.has(node) && !self.tree.holds(&self.memory.graph.hash(node))
    }

    /// What was refused once, and is found now and not to be pulled here, is refused no longer.
    fn settle(&mut self, closure: &Closure) {
        let Self { tree, memory, assigned, refusals, .. } = self;
        memory.accept_where(|graph, hash| {
            let Some(node) = graph.node_of(hash) else { return false };
            let wanted_here = assigned.has(node) && !tree.holds(hash);
            closure.has(node) && !refusals.contains_key(hash) && !wanted_here
        });
    }

    /// Writes the narinfos of everything that can be had, wherever it is held, references first. What was refused for its
    /// bytes, and has not been published since, is left out, and what needs it: its NAR file is not one to send clients for.
    ///
    /// The writing begins at once; what is returned waits for its end.
    fn write_catalog(
        &self,
        closure: &Closure,
        order: &[Node],
        good: &dyn Fn(Node) -> bool,
    ) -> impl Future<Output = ()> + use<'p> {
        let graph = &self.memory.graph;
        let mut whole = Marks::new(graph);
        let mut infos: Vec<Arc<NarInfo>> = Vec::with_capacity(closure.fresh.len());
        for node in order.iter().copied() {
            let hash = graph.hash(node);
            let doubtful = self.memory.is_doubtful(&hash) && !self.tree.in_catalog(&hash);
            let own = closure.asked(node);
            let needed = closure.references(graph, node).iter().filter(|reference| **reference != own);
            if good(node)
                && !doubtful
                && needed.map(|needed| graph.node(*needed)).all(|needed| whole.has(needed))
            {
                whole.insert(node);
                infos.extend(closure.fresh.get(&node).map(|found| Arc::clone(&found.info)));
            }
        }
        let written = Arc::clone(&self.written);
        self.disk("write the catalog", move |tree| {
            tree.put_in_catalog(infos.iter().map(AsRef::as_ref))?;
            written.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    /// What the catalog has now is not kept in memory any longer.
    fn forget_written(&mut self) {
        if self.written.swap(false, Ordering::Relaxed) {
            self.memory.written(self.tree);
        }
    }

    /// What is to be pulled, references first. Takes the narinfos that are only here.
    fn orders(
        &self,
        closure: &mut Closure,
        order: &[Node],
        good: impl Fn(Node) -> bool,
    ) -> (Vec<Order>, Board) {
        let (now, graph, mut fresh) =
            (Instant::now(), &self.memory.graph, std::mem::take(&mut closure.fresh));
        let wanted = || order.iter().copied().filter(|node| self.is_wanted_here(*node) && good(*node));
        let of = |node| {
            let (hash, found) = (graph.hash(node), fresh.remove(&node));
            let path = match &found {
                Some(found) => found.info.store_path.clone(),
                None => graph.path(closure.asked(node))?,
            };
            let nar_size = match &found {
                Some(found) => found.info.nar_size,
                // Gone from the catalog meanwhile: begun in its turn.
                None => self.tree.catalog_entry(&hash).map_or(0, |known| known.expected.nar_size),
            };
            let standing = self.memory.standing(&hash, now).map(|refusal| refusal.reason);
            Some((node, Order { path, nar_size, found, standing }))
        };
        let (nodes, orders): (Vec<Node>, Vec<Order>) = wanted().filter_map(of).unzip();
        let needs = |node| closure.references(graph, node).iter().map(|needed| graph.node(*needed));
        (orders, Board::new(nodes.into_iter().map(|node| (node, needs(node)))))
    }

    fn pulled(&mut self, pulled: Pulled) {
        let Pulled { path, result, took } = pulled;
        self.queued(self.queue.saturating_sub(1));
        self.forget_written();
        let hash = path.hash_part();
        match result {
            Ok(Some(Got { bytes, source })) => {
                journal::published(&path, bytes, &source, took);
                self.memory.accept(&hash);
                self.outcome.published += 1;
                self.outcome.published_bytes += bytes;
                self.observer.published(&path, bytes);
            }
            Ok(None) => {
                if let Some(refusal) = self.memory.standing(&hash, Instant::now()).cloned() {
                    self.observer.refused(&refusal, true);
                    self.refusals.insert(hash, super::report::Refused { refusal, transient: false });
                }
            }
            Err(problem) => {
                let reason = problem.fault.reason;
                let transient = problem.fault.is_transient() || needs_transient(&problem);
                let bytes = !transient && reason != RefusalReason::MissingReference;
                self.refuse(&path, &problem, transient, bytes, took);
            }
        }
        if Instant::now() >= self.tell {
            self.progress();
        }
    }

    /// `took`: how long was spent on it in this pass.
    fn refuse(&mut self, path: &StorePath, problem: &Problem, transient: bool, bytes: bool, took: Duration) {
        let refused = refused(path, &problem.fault, &problem.source, transient);
        let again = self.memory.refuse(path.hash_part(), &refused.refusal, bytes, Instant::now());
        let (reason, fault, source) = (problem.fault.reason, &problem.fault, &problem.source);
        // That there is no room is told once, and not for each.
        journal::refused(path, reason, fault, source, took, again || reason == RefusalReason::NoSpace);
        self.observer.refused(&refused.refusal, again);
        self.refusals.insert(path.hash_part(), refused);
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

    async fn end(mut self, context: &Context, job: &Job, closure: &Closure, demand: Demand) -> PassOutcome {
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
        let upstream = |source: &granary_fetch::Source| {
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
            refused.iter().try_for_each(|(hash, refusal)| tree.put_in_quarantine(hash, refusal))
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
        // What the channels refused has its records too; as long as that is not known, none goes.
        let known = self.memory.wants.as_ref().is_none_or(|wants| {
            let others = wants.refused();
            refused.extend(others.iter().flat_map(|others| others.iter()));
            others.is_some()
        });
        let beside = self.memory.refusals.clone();
        self.disk("tidy up", move |tree| {
            let others = |hash: &HashPart| beside.as_ref().is_some_and(|beside| beside.stands(hash));
            if known {
                tree.prune_quarantine(|hash| refused.contains(hash) || others(hash))?;
            }
            if scope == Scope::Shared { Ok(()) } else { tree.prune_catalog(&kept).map(drop) }
        })
        .await;
    }

    /// Does something with the disk that must not fail silently, and need not end the pass. It begins at once.
    fn disk<W>(&self, action: &'static str, work: W) -> impl Future<Output = ()> + use<'p, W>
    where
        W: FnOnce(&Tree) -> Result<(), TreeError> + Send + 'static,
    {
        let (done, failed) = (self.blocking(work), Arc::clone(&self.disk_failed));
        async move {
            if let Some(Err(error)) = done.await {
                tracing::error!(%error, "cannot {action}");
                failed.store(true, Ordering::Relaxed);
            }
        }
    }

    fn blocking<T, W>(&self, work: W) -> impl Future<Output = Option<T>> + use<'p, T, W>
    where
        T: Send + 'static,
        W: FnOnce(&Tree) -> T + Send + 'static,
    {
        let tree = Arc::clone(self.tree);
        let waiting = OnDisk::begin(self.observer);
        let done = tokio::task::spawn_blocking(move || work(&tree));
        async move {
            let done = done.await.ok();
            drop(waiting);
            done
        }
    }
}

/// Tells the observer that the pass waits for the disk, as long as it lives.
struct OnDisk<'p>(&'p dyn Observer);

impl<'p> OnDisk<'p> {
    fn begin(observer: &'p dyn Observer) -> Self {
        observer.on_disk(true);
        Self(observer)
    }
}

impl Drop for OnDisk<'_> {
    fn drop(&mut self) {
        self.0.on_disk(false);
    }
}
