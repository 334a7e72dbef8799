//! One pass, step by step.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use granary_fetch::{Fetcher, SourceKind, source};
use granary_nix::{HashPart, NarInfo, StorePath};
use granary_placement::report::{PolicyReport, RefusalReason, UpstreamReport};

use super::demand;
use super::job::{Job, trust_of};
use super::memory::{Memory, Scope};
use super::obtain::{Context, Problem};
use super::outcome::{Demand, Observer, PassOutcome};
use super::plan::{self, Blame};
use super::pull::{self, Got, Order, Pulled};
use super::report::{PolicyState, Refusals, passes, refused};
use super::resolve::{Closure, resolve};
use crate::journal;
use crate::tree::{Tree, TreeError};

/// How often the observer is told of progress, at most.
const PROGRESS: Duration = Duration::from_millis(250);

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
    let closure = resolve(&context, memory, &trust, roots).await;
    if let Some(wants) = memory.wants.as_ref().filter(|_| memory.scope == Scope::Part) {
        // Before anything of it is published that nothing published refers to yet.
        wants.add_to_channels(closure.found.keys().copied());
    } else if let Some(wants) = &memory.wants {
        let listed = demand::listed(job.policies.iter().map(|policy| &policy.roots));
        let known = job.is_known() && closure.unexplained(&listed).next().is_none();
        wants.set_policies(known.then(|| closure.found.keys().copied().collect()));
    }
    let order = plan::order(&closure);
    let blamed = plan::blame(&closure, &order);

    let mut pass = Pass::new(tree, memory, observer, job, &closure);
    pass.look().await;
    for (path, problem) in closure.lost.values() {
        pass.refuse(path, problem, problem.fault.is_transient(), false, Duration::ZERO);
    }
    for (path, blame) in
        order.iter().filter_map(|hash| Some((&closure.found.get(hash)?.info.store_path, blamed.get(hash)?)))
    {
        if pass.is_wanted_here(&path.hash_part()) {
            pass.refuse(path, &Problem::from(blame), passes(blame.reason), false, Duration::ZERO);
        }
    }
    pass.settle(&closure);
    // What is published needs the catalog; what is only fetched does not wait for it.
    let catalog = pass.write_catalog(&closure, &order, |hash| !blamed.contains_key(hash));
    pass.progress();

    let orders = pass.orders(&closure, &order, |hash| !blamed.contains_key(hash));
    pass.queued(orders.len() as u64);
    pull::pull_all(&context, orders, catalog, |pulled| pass.pulled(pulled)).await;
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
    assigned: HashSet<HashPart>,
    refusals: Refusals,
    outcome: PassOutcome,
    /// Artifacts that are left to get.
    queue: u64,
    disk_failed: Arc<AtomicBool>,
    told: Instant,
}

impl<'p> Pass<'p> {
    fn new(
        tree: &'p Arc<Tree>,
        memory: &'p mut Memory,
        observer: &'p dyn Observer,
        job: &Job,
        closure: &Closure,
    ) -> Self {
        let state = |policy: &super::PolicyJob| {
            let last = memory.policies.get(&policy.name).cloned().unwrap_or_default();
            PolicyState::new(policy, closure, last, tree)
        };
        let policies: Vec<PolicyState> = job.policies.iter().map(state).collect();
        let assigned = policies.iter().flat_map(|policy| &policy.assigned).copied().collect();
        let (refusals, outcome) = (Refusals::new(), PassOutcome::default());
        let disk_failed = Arc::default();
        Self {
            tree,
            memory,
            observer,
            policies,
            assigned,
            refusals,
            outcome,
            disk_failed,
            queue: 0,
            told: Instant::now(),
        }
    }

    /// Looks whether what was published is still there.
    async fn look(&self) {
        let assigned: Vec<HashPart> = self.assigned.iter().copied().collect();
        for some in assigned.chunks(LOOK) {
            let some = some.to_vec();
            self.blocking(move |tree| {
                for hash in some.iter().filter(|hash| tree.holds(hash)) {
                    tree.still_holds(hash);
                }
            })
            .await;
        }
    }

    /// Whether it is assigned to this mirror and not there.
    fn is_wanted_here(&self, hash: &HashPart) -> bool {
        self.assigned.contains(hash) && !self.tree.holds(hash)
    }

    /// What was refused once, and is found now and not to be pulled here, is refused no longer.
    fn settle(&mut self, closure: &Closure) {
        let Self { tree, memory, assigned, refusals, .. } = self;
        memory.accept_where(|hash| {
            let wanted_here = assigned.contains(hash) && !tree.holds(hash);
            closure.found.contains_key(hash) && !refusals.contains_key(hash) && !wanted_here
        });
    }

    /// Writes the narinfos of everything that can be had, wherever it is held, references first. What was refused for its
    /// bytes, and has not been published since, is left out, and what needs it: its NAR file is not one to send clients for.
    ///
    /// The writing begins at once; what is returned waits for its end.
    fn write_catalog<G: Fn(&HashPart) -> bool>(
        &self,
        closure: &Closure,
        order: &[HashPart],
        good: G,
    ) -> impl Future<Output = ()> + use<'p, G> {
        let mut whole: HashSet<HashPart> = HashSet::with_capacity(order.len());
        let mut infos: Vec<Arc<NarInfo>> = Vec::with_capacity(order.len());
        for (hash, found) in order.iter().filter_map(|hash| Some((hash, closure.found.get(hash)?))) {
            let doubtful = self.memory.is_doubtful(hash) && !self.tree.in_catalog(hash);
            let needed =
                found.info.references.iter().filter(|reference| **reference != found.info.store_path);
            if good(hash)
                && !doubtful
                && needed.map(StorePath::hash_part).all(|needed| whole.contains(&needed))
            {
                whole.insert(*hash);
                infos.push(Arc::clone(&found.info));
            }
        }
        let written = move |tree: &Tree| tree.put_in_catalog(infos.iter().map(AsRef::as_ref));
        self.disk("write the catalog", written)
    }

    /// What is to be pulled, references first.
    fn orders(&self, closure: &Closure, order: &[HashPart], good: impl Fn(&HashPart) -> bool) -> Vec<Order> {
        let now = Instant::now();
        let wanted = order.iter().filter(|hash| self.is_wanted_here(hash) && good(hash));
        let order = |hash| {
            let standing = self.memory.standing(hash, now).map(|refusal| refusal.reason);
            Some(Order { found: closure.found.get(hash)?.clone(), standing })
        };
        wanted.filter_map(order).collect()
    }

    fn pulled(&mut self, pulled: Pulled) {
        let Pulled { path, result, took } = pulled;
        self.queued(self.queue.saturating_sub(1));
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
        if self.told.elapsed() >= PROGRESS {
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
        self.policies.iter().map(|policy| policy.report(self.tree, &self.refusals, ended)).collect()
    }

    fn queued(&mut self, artifacts: u64) {
        self.queue = artifacts;
        self.observer.queued(artifacts);
    }

    fn progress(&mut self) {
        self.observer.progress(&self.reports(false));
        self.told = Instant::now();
    }

    async fn end(mut self, context: &Context, job: &Job, closure: &Closure, demand: Demand) -> PassOutcome {
        let now = jiff::Timestamp::now();
        for policy in &mut self.policies {
            policy.end(closure, self.tree, now);
        }
        self.clean(job, closure, demand.known()).await;
        self.outcome.demand = match demand {
            Demand::Known(_) if self.disk_failed.load(Ordering::Relaxed) => {
                Demand::Unknown("the disk failed".into())
            }
            demand => demand,
        };
        self.outcome.policies = self.reports(true);
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
    async fn clean(&mut self, job: &Job, closure: &Closure, demand: Option<&HashSet<HashPart>>) {
        let scope = self.memory.scope;
        if scope == Scope::Part {
            // The next job has others, and those of this one are on disk now.
            self.memory.known.clear();
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
        let mut refused: HashSet<HashPart> = self.refusals.keys().copied().collect();
        let members = || self.policies.iter().flat_map(|policy| &policy.members);
        let good = members().filter(|hash| !refused.contains(hash));
        // What stands in the tree keeps all that it needs.
        let kept: Vec<&StorePath> =
            good.filter_map(|hash| closure.found.get(hash)).map(|found| &found.info.store_path).collect();
        let kept: HashSet<HashPart> = plan::members(closure, kept.into_iter()).into_iter().collect();
        let wanted: HashSet<HashPart> = members().copied().collect();
        self.memory.keep(
            demand.unwrap_or(&wanted),
            &job.policies.iter().map(|policy| policy.name.as_str()).collect(),
        );
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
