//! The loop: a pass, a pause, a pass. A map that asks for something else ends the pause, and the pass too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_fetch::watch::{Asked, Outcome};
use granary_fetch::{Source, Watch};
use granary_nix::StorePath;
use granary_placement::CompiledMap;
use granary_placement::report::{PolicyReport, Refusal};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug_span, info, warn};

use super::activity::LastPass;
use super::heart::{Heart, Loop};
use super::job::{self, Task};
use super::status::Status;
use super::upkeep::Upkeep;
use crate::channels::{Followed, Taken};
use crate::config::Config;
use crate::map::Current;
use crate::metrics::Metrics;
use crate::refusals::{Origin, Refusals};
use crate::sync::{Observer, PassOutcome, Syncer};

/// Tells status, metrics and the heart what a pass and its transfers do. The pass itself writes the log.
#[derive(Debug)]
pub(super) struct Watcher {
    pub status: Arc<Status>,
    pub metrics: Arc<Metrics>,
    pub heart: Arc<Heart>,
    pub refusals: Arc<Refusals>,
}

impl Watch for Watcher {
    fn asked(&self, source: &Source, what: Asked, outcome: Outcome) {
        self.metrics.fetch.asked(source, what, outcome);
        self.heart.beat(Instant::now());
    }

    fn received(&self, source: &Source, bytes: usize) {
        self.metrics.fetch.received(source, bytes);
        self.heart.beat(Instant::now());
    }

    fn running(&self, transfers: i64, verifications: i64) {
        self.metrics.fetch.running(transfers, verifications);
        self.heart.beat(Instant::now());
    }

    fn verifying(&self) {
        self.heart.beat(Instant::now());
    }

    fn verified(&self, time: Duration) {
        self.metrics.fetch.verified(time);
    }
}

impl Observer for Watcher {
    fn progress(&self, policies: &[PolicyReport]) {
        self.status.progress(policies);
        self.heart.moved(Loop::Policies, Instant::now());
    }

    fn published(&self, _: &StorePath, _: u64) {
        self.heart.moved(Loop::Policies, Instant::now());
    }

    fn queued(&self, artifacts: u64) {
        self.status.queued(artifacts);
        self.heart.moved(Loop::Policies, Instant::now());
    }

    fn on_disk(&self, begins: bool) {
        self.heart.disk(Loop::Policies, begins, Instant::now());
    }

    fn refused(&self, refusal: &Refusal, again: bool) {
        self.refusals.met(Origin::Pass, refusal, again);
    }
}

/// A pass that takes no longer costs nothing to speak of.
const SHORT: Duration = Duration::from_secs(1);
/// The longest pause between two passes.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// Where it is said what is wanted here.
#[derive(Debug)]
pub(super) struct Wishes {
    /// The mirror map; never changes where none is followed.
    pub map: Current,
    /// The channels that the map's policies name.
    pub followed: Arc<Followed>,
}

/// Passes until `stop`. `wake` ends a pause: something that was here is missing.
pub(super) async fn work(
    config: &Arc<Config>,
    syncer: &Syncer,
    wishes: Wishes,
    watcher: &Watcher,
    upkeep: &Upkeep,
    wake: &Notify,
    stop: &CancellationToken,
) {
    let Wishes { mut map, followed } = wishes;
    let mut last: Option<Arc<CompiledMap>> = None;
    let mut first = true;
    loop {
        let mut pause = config.sync_every;
        let current = map.borrow_and_update().clone();
        if let Some(task) = task_of(config, current.clone(), &followed).await {
            let Task { epoch, job, rules, taken } = task;
            watcher.status.begin(epoch, &job, first || asks_other(last.as_deref(), current.as_deref()));
            first = false;
            last.clone_from(&current);
            let started = Instant::now();
            watcher.heart.pass(Loop::Policies, true, started);
            watcher.status.pass_began(Timestamp::now());
            let pass = syncer.pass(&job, watcher).instrument(debug_span!("pass", epoch));
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                () = asks_otherwise(&mut map, current.as_deref()) => None,
                outcome = pass => Some(outcome),
            };
            watcher.heart.pass(Loop::Policies, false, Instant::now());
            let Some(outcome) = ended else {
                watcher.status.pass_ended(None);
                info!("the mirror map asks for something else; beginning anew");
                continue;
            };
            tell(watcher, &outcome, started);
            pause = pause_after(config.sync_every, &outcome, started.elapsed());
            after_pass(&followed, taken, &outcome).await;
            upkeep.after_pass(rules, outcome.demand).await;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed(&mut map) => {}
            () = wake.notified() => {}
            () = sleep(pause) => {}
        }
    }
}

async fn task_of(
    config: &Arc<Config>,
    map: Option<Arc<CompiledMap>>,
    followed: &Arc<Followed>,
) -> Option<Task> {
    let (config, followed) = (Arc::clone(config), Arc::clone(followed));
    let read = move || job::task(&config, map.as_deref(), &followed);
    tokio::task::spawn_blocking(read).await.ok()?
}

/// Revisions are complete when every policy that names their channel has all of them that it is to have here.
async fn after_pass(followed: &Arc<Followed>, taken: Vec<Taken>, outcome: &PassOutcome) {
    if taken.iter().all(Taken::is_empty) {
        return;
    }
    let (followed, refused) = (Arc::clone(followed), outcome.refused.clone());
    let complete = complete(taken, &outcome.policies);
    let tell = move || {
        followed.count(&refused);
        followed.completed(&complete, Timestamp::now());
    };
    if let Err(error) = tokio::task::spawn_blocking(tell).await {
        warn!(%error, "what is here of the channels was not counted");
    }
}

fn complete(taken: Vec<Taken>, policies: &[PolicyReport]) -> Taken {
    let (mut complete, mut open) = (Taken::new(), Taken::new());
    for (taken, policy) in taken.into_iter().zip(policies) {
        if policy.synced { complete.extend(taken) } else { open.extend(taken) }
    }
    complete.retain(|revision| !open.contains(revision));
    complete
}

/// How long nothing is done after a pass. One over very much that found nothing to do is not begun again soon, so that it takes
/// a hundredth of a core: what a mirror holds does not change by itself, the scrub finds what rots, and whatever asks for
/// something else, or misses something, ends the pause.
fn pause_after(every: Duration, outcome: &PassOutcome, took: Duration) -> Duration {
    let PassOutcome { policies: _, refused, upstreams: _, published, published_bytes: _, demand: _ } =
        outcome;
    if *published > 0 || !refused.is_empty() || !outcome.is_synced() {
        return every;
    }
    every.max(took.saturating_sub(SHORT).saturating_mul(100).min(LONGEST_PAUSE))
}

fn tell(watcher: &Watcher, outcome: &PassOutcome, started: Instant) {
    let (took, now) = (started.elapsed(), Timestamp::now());
    let last = LastPass {
        ended: now,
        millis: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        published: outcome.published,
        published_bytes: outcome.published_bytes,
    };
    watcher.status.end(outcome);
    watcher.refusals.pass_ended(&outcome.refused);
    watcher.status.pass_ended(Some(last));
    let (seconds, done) = (took.as_secs_f64(), outcome.is_synced());
    #[allow(clippy::cast_precision_loss, reason = "Unix time in seconds is far below 2^52")]
    watcher.metrics.pass(seconds, now.as_second() as f64, done);
    if outcome.published > 0 || !done {
        let (published, bytes, refused) = (outcome.published, outcome.published_bytes, outcome.refused.len());
        info!(published, bytes, refused, done, seconds, "pass ended");
    }
    for policy in &outcome.policies {
        if let Some(reason) = &policy.catalog_error {
            warn!(policy = policy.name, reason, "the closure cannot be resolved yet");
        }
    }
}

/// Whether the second map asks for other artifacts, or other places for them, than the first.
fn asks_other(before: Option<&CompiledMap>, now: Option<&CompiledMap>) -> bool {
    let asked = |map: &CompiledMap| {
        let map = map.map();
        (map.table_hash.clone(), map.policies.clone())
    };
    before.map(asked) != now.map(asked)
}

/// Ends when a map comes that asks for something else than `current`. States of mirrors do not count: a pass that was
/// ended by every one of them would never get a large NAR.
async fn asks_otherwise(map: &mut Current, current: Option<&CompiledMap>) {
    loop {
        changed(map).await;
        if asks_other(current, map.borrow().as_deref()) {
            return;
        }
    }
}

/// Ends when a new map comes; never, when none is followed.
async fn changed(map: &mut Current) {
    if map.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use granary_placement::report::PolicyReport;

    use super::super::status::unresolved;
    use super::*;

    #[test]
    fn a_long_pass_that_found_nothing_to_do_is_not_begun_again_soon() {
        let every = Duration::from_secs(30);
        let policy = PolicyReport { synced: true, ..unresolved("stable") };
        let outcome = || PassOutcome { policies: vec![policy.clone()], ..PassOutcome::default() };
        let pause =
            |outcome: &PassOutcome, seconds| pause_after(every, outcome, Duration::from_secs(seconds));
        assert_eq!(pause(&outcome(), 0), every);
        assert_eq!(pause(&outcome(), 1), every);
        assert_eq!(pause(&outcome(), 6), Duration::from_secs(500));
        assert_eq!(pause(&outcome(), 10_000), LONGEST_PAUSE);
        assert_eq!(pause(&PassOutcome { published: 1, ..outcome() }, 6), every);
        assert_eq!(pause(&PassOutcome { policies: vec![unresolved("new")], ..outcome() }, 6), every);
    }

    #[test]
    fn a_revision_is_complete_when_no_policy_that_names_its_channel_misses_anything() {
        let taken =
            |ids: &[&str]| ids.iter().map(|id| ("https://x/c".to_owned(), (*id).to_owned())).collect();
        let policies = [true, false].map(|synced| PolicyReport { synced, ..unresolved("p") });
        assert_eq!(complete(vec![taken(&["a", "b"]), taken(&["b"])], &policies), taken(&["a"]));
        assert_eq!(complete(vec![taken(&["a"]), taken(&[])], &policies), taken(&["a"]));
    }
}
