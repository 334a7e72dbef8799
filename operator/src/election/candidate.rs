//! The loop of one candidate: acquire, lead, renew, and stop in time.

use std::{future::Future, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tracing::{error, info, warn};

use super::{
    decide::{self, Hold, Step, Timings},
    lease::{LeaseError, LeaseStore},
};

/// How an election ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop. If it led, the work was stopped first and the lease is released.
    Stopped,
    /// The work ended by itself.
    WorkEnded,
    /// It led, and lost the lease. Tasks that the work spawned may still run: the process must exit.
    Lost,
}

/// One candidate.
pub struct Election<L> {
    lease: L,
    identity: String,
    timings: Timings,
}

/// What became of an attempt to renew.
enum Renewal {
    Done,
    Failed,
    Lost(&'static str),
}

impl<L: LeaseStore> Election<L> {
    /// A candidate of this name. No two candidates for a lease may share a name: a pod's name is good.
    pub fn new(lease: L, identity: String, timings: Timings) -> Self {
        Self { lease, identity, timings }
    }

    /// Waits until it leads, then runs `work` until that ends, the lease is lost, or `stop` is ready.
    pub async fn run<W: Future<Output = ()>>(
        &self,
        work: impl FnOnce() -> W,
        stop: impl Future<Output = ()>,
    ) -> Ended {
        tokio::pin!(stop);
        let begun = tokio::select! {
            begun = self.acquire() => begun,
            () = &mut stop => return Ended::Stopped,
        };
        let mut hold = Hold::new(begun.into_std(), self.timings.deadline);
        if hold.left(Instant::now().into_std()).is_none() {
            // The answer came too late to act on: somebody may already wait for the end of this lease.
            return Ended::Lost;
        }
        info!(identity = self.identity, "leading");
        let ended = {
            let work = work();
            tokio::pin!(work);
            tokio::select! {
                biased;
                () = self.hold(&mut hold) => Ended::Lost,
                () = &mut stop => Ended::Stopped,
                () = &mut work => Ended::WorkEnded,
            }
            // The work is dropped here, before the lease is given up.
        };
        if ended != Ended::Lost {
            self.release().await;
        }
        ended
    }

    /// Waits for the lease. Returns the instant before the request that took it.
    async fn acquire(&self) -> Instant {
        let mut remembered = None;
        loop {
            let begun = Instant::now();
            match timeout(self.timings.deadline, self.try_acquire(&mut remembered)).await {
                Ok(Ok(true)) => return begun,
                Ok(Ok(false) | Err(LeaseError::Conflict)) => {}
                Ok(Err(error)) => log("take", &error),
                Err(_) => warn!("no answer while trying to take the lease"),
            }
            // Spread, so that two candidates do not stay in step.
            sleep(self.timings.retry.mul_f64(rand::random_range(1.0..1.5))).await;
        }
    }

    async fn try_acquire(&self, remembered: &mut Option<decide::Remembered>) -> Result<bool, LeaseError> {
        let Self { lease, identity, timings } = self;
        let read = lease.get().await?;
        let seen = read.as_ref().map(|read| lease.seen(read));
        let now = Instant::now().into_std();
        let spec = decide::held(identity, timings.duration, seen.map(|seen| seen.spec), Timestamp::now());
        match (decide::acquire(identity, timings.duration, remembered.take(), seen, now), read) {
            (Step::Wait(wait), _) => {
                *remembered = Some(wait);
                return Ok(false);
            }
            (Step::Take, Some(read)) => lease.replace(read, spec).await?,
            (Step::Take | Step::Create, _) => lease.create(spec).await?,
        }
        Ok(true)
    }

    /// Renews until the lease is lost.
    async fn hold(&self, hold: &mut Hold) {
        let retry = self.timings.retry;
        // A fixed beat: a slow answer must not stretch the time to the next attempt.
        let mut beat = interval_at(Instant::now() + retry, retry);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Beats alone would notice the end up to one retry late.
            tokio::select! {
                biased;
                () = tokio::time::sleep_until(hold.ends().into()) => {
                    error!("the lease could not be renewed in time");
                    return;
                }
                _ = beat.tick() => {}
            }
            let begun = Instant::now();
            let Some(left) = hold.left(begun.into_std()) else { return };
            match self.renew(left).await {
                Renewal::Done => hold.renewed(begun.into_std()),
                Renewal::Failed => {}
                Renewal::Lost(why) => {
                    error!(why, "the lease is lost");
                    return;
                }
            }
        }
    }

    async fn renew(&self, left: Duration) -> Renewal {
        let Self { lease, identity, timings } = self;
        let attempt = async {
            let read = lease.get().await?;
            let observed = read.as_ref().map(|read| lease.seen(read).spec);
            if !decide::is_ours(identity, observed) {
                return Ok(false);
            }
            let spec = decide::held(identity, timings.duration, observed, Timestamp::now());
            match read {
                Some(read) => lease.replace(read, spec).await.map(|()| true),
                None => Ok(false),
            }
        };
        match timeout(left, attempt).await {
            Ok(Ok(true)) => Renewal::Done,
            Ok(Ok(false)) => Renewal::Lost("another holds it, or it was deleted"),
            // Somebody wrote between our read and our write. The next beat tells who holds it now.
            Ok(Err(LeaseError::Conflict)) => Renewal::Failed,
            Ok(Err(error)) => {
                log("renew", &error);
                Renewal::Failed
            }
            Err(_) => Renewal::Lost("no answer until the deadline"),
        }
    }

    /// Gives the lease up, so that the next leader need not wait. Best effort.
    async fn release(&self) {
        let attempt = async {
            let Some(read) = self.lease.get().await? else { return Ok(()) };
            let spec = self.lease.seen(&read).spec;
            if !decide::is_ours(&self.identity, Some(spec)) {
                return Ok(());
            }
            let spec = decide::released(spec, Timestamp::now());
            self.lease.replace(read, spec).await
        };
        match timeout(self.timings.retry, attempt).await {
            Ok(Ok(())) => info!("released the lease"),
            Ok(Err(LeaseError::Conflict)) => {}
            Ok(Err(error)) => log("release", &error),
            Err(_) => warn!("no answer while releasing the lease"),
        }
    }
}

fn log(action: &'static str, error: &LeaseError) {
    match error {
        LeaseError::Forbidden { .. } => error!(action, %error, "election"),
        LeaseError::Conflict | LeaseError::Api(_) => warn!(action, %error, "election"),
    }
}
