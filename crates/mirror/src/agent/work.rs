//! The loop: a pass, a pause, a pass. A map that asks for something else ends the pause, and the pass too.

use std::sync::Arc;
use std::time::Instant;

use granary_placement::CompiledMap;
use granary_placement::report::{PolicyReport, Refusal};
use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::job;
use super::status::Status;
use crate::config::{Config, Wanted};
use crate::map::Current;
use crate::metrics::Metrics;
use crate::sync::{Job, Observer, PassOutcome, Syncer};

/// Tells status and metrics what a pass does. The pass itself writes the log.
pub(super) struct Watcher {
    pub status: Arc<Status>,
    pub metrics: Arc<Metrics>,
}

impl Observer for Watcher {
    fn progress(&self, policies: &[PolicyReport]) {
        self.status.progress(policies);
    }

    fn refused(&self, refusal: &Refusal, again: bool) {
        self.metrics.refusal(refusal.reason);
        if !again {
            self.status.refused(refusal);
        }
    }
}

/// Passes until `stop`.
pub(super) async fn work(
    config: &Config,
    syncer: &Syncer,
    mut map: Current,
    watcher: Watcher,
    stop: &CancellationToken,
) {
    let mut last: Option<Arc<CompiledMap>> = None;
    let mut first = true;
    loop {
        let current = map.borrow_and_update().clone();
        if let Some((epoch, job)) = job_of(config, current.as_deref()) {
            watcher.status.begin(epoch, &job, first || asks_other(last.as_deref(), current.as_deref()));
            first = false;
            last.clone_from(&current);
            let started = Instant::now();
            tokio::select! {
                () = stop.cancelled() => return,
                () = asks_otherwise(&mut map, current.as_deref()) => {
                    info!("the mirror map asks for something else; beginning anew");
                    continue;
                }
                outcome = syncer.pass(&job, &watcher) => ended(&watcher, &outcome, started),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed(&mut map) => {}
            () = sleep(config.sync_every) => {}
        }
    }
}

fn ended(watcher: &Watcher, outcome: &PassOutcome, started: Instant) {
    watcher.status.end(outcome);
    let seconds = started.elapsed().as_secs_f64();
    let done = outcome.is_synced();
    #[allow(clippy::cast_precision_loss, reason = "Unix time in seconds is far below 2^52")]
    watcher.metrics.pass(seconds, Timestamp::now().as_second() as f64, done);
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

/// What is to be done, and by which epoch. `None`: there is no map yet.
pub(crate) fn job_of(config: &Config, map: Option<&CompiledMap>) -> Option<(u64, Job)> {
    match (&config.wanted, map) {
        (Wanted::Roots(roots), _) => Some((0, job::of_roots(roots, &config.upstreams))),
        (Wanted::Map(_), Some(map)) => {
            Some((map.map().epoch, job::of_map(map, &config.name, &config.upstreams)))
        }
        (Wanted::Map(_), None) => None,
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
