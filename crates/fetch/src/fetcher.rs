//! Asking sources over HTTP.

mod alone;
mod answer;
mod ask;
mod clients;
mod decoders;
mod download;
mod file;
mod nars;
mod pace;
mod site;
mod throttle;
mod web;
mod writer;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use granary_nix::{BaseUrl, HashPart, NarInfo};
use granary_placement::report::RefusalReason;
use reqwest::{StatusCode, Url};
use tokio::sync::Semaphore;

use crate::circuit::Circuit;
use crate::rest::Rest;
use crate::watch::{Asked, Watch};
use crate::{Fault, Limits, Source, backoff, narinfo};
use answer::{Attempt, Class, classify};
use clients::{Clients, Terms};
use decoders::Decoders;
use site::Site;
use throttle::Throttle;

pub use ask::{Answer, Broken};
pub use web::{WebClient, WebError};

/// Attempts at one source before the next is asked.
const ATTEMPTS: u32 = 3;

/// Why no fetcher could be made.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct FetcherError(#[from] reqwest::Error);

/// Fetches and verifies, within [`Limits`]. A cheap handle: clones share connections, limits and what is known about the
/// sources.
#[derive(Clone, Debug)]
pub struct Fetcher(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// For sources without authorities or a proxy of their own.
    clients: Arc<Clients>,
    limits: Limits,
    connections: Semaphore,
    decoders: Decoders,
    throttle: Option<Arc<Throttle>>,
    circuits: Mutex<HashMap<BaseUrl, Circuit>>,
    /// What the sources asked for; one that has had its rest stays here until it asks again.
    rests: Arc<Mutex<HashMap<BaseUrl, Rest>>>,
    watch: Arc<dyn Watch>,
    sites: Arc<Mutex<HashMap<BaseUrl, Arc<Site>>>>,
}

impl Fetcher {
    /// A fetcher that keeps to `limits`. The process must have a default TLS provider.
    pub fn new(limits: Limits) -> Result<Self, FetcherError> {
        Self::watched(limits, Arc::new(()))
    }

    /// The same, and `watch` is told what it does.
    pub fn watched(limits: Limits, watch: Arc<dyn Watch>) -> Result<Self, FetcherError> {
        Ok(Self(Arc::new(Shared {
            clients: Arc::new(Clients::new(Terms { connect: limits.connect, ..Terms::default() })?),
            connections: Semaphore::new(limits.connections.max(1)),
            decoders: Decoders::new(limits.decoders),
            throttle: limits.bandwidth.map(Throttle::new),
            limits,
            circuits: Mutex::default(),
            rests: Arc::default(),
            watch,
            sites: Arc::default(),
        })))
    }

    /// A fetcher that keeps to other limits of time, number and size, tells the same watch, and shares with this one what the
    /// sources may have: connections, bandwidth of each and of all together, and the rest that they ask for.
    pub fn with_limits(&self, limits: Limits) -> Result<Self, FetcherError> {
        let Shared { throttle, sites, watch, rests, .. } = &*self.0;
        Ok(Self(Arc::new(Shared {
            clients: Arc::new(Clients::new(Terms { connect: limits.connect, ..Terms::default() })?),
            connections: Semaphore::new(limits.connections.max(1)),
            decoders: Decoders::new(limits.decoders),
            throttle: throttle.clone(),
            limits,
            circuits: Mutex::default(),
            rests: Arc::clone(rests),
            watch: Arc::clone(watch),
            sites: Arc::clone(sites),
        })))
    }

    /// The limits that it keeps to.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// The source's narinfo for an artifact, admitted by [`narinfo::admit`]; `None` when the source does not have it.
    pub async fn narinfo(&self, source: &Source, hash: &HashPart) -> Result<Option<NarInfo>, Fault> {
        let url = source.url.join(&hash.narinfo_name())?;
        let _slot = self.slot(source).await?;
        self.may_ask(source)?;
        let text = self.narinfo_text(source, &url).await;
        self.learn(source, text.as_ref().err());
        text?.map(|text| narinfo::admit(&text, hash, source)).transpose()
    }

    /// Asks until there is an answer, or a fault that would come again; three times at most.
    async fn narinfo_text(&self, source: &Source, url: &Url) -> Result<Option<Vec<u8>>, Fault> {
        let mut number = 0;
        loop {
            number += 1;
            match self.ask_narinfo(source, url).await {
                Ok(text) => return Ok(text),
                Err(Attempt::Last(fault)) => return Err(fault),
                Err(Attempt::Again { why, .. }) if number == ATTEMPTS => return Err(answer::gave_up(&why)),
                Err(Attempt::Again { after, .. }) => pause(number, after).await,
            }
        }
    }

    async fn ask_narinfo(&self, source: &Source, url: &Url) -> Result<Option<Vec<u8>>, Attempt> {
        let answer = self.send(source, Asked::NarInfo, url.clone(), &[]).await?;
        match classify(answer.status()) {
            Class::Whole | Class::Part => answer::small_body(answer).await.map(Some),
            Class::Absent => Ok(None),
            Class::Failed { again } => Err(answer::failed(&answer, again)),
        }
    }

    fn site(&self, source: &Source) -> Arc<Site> {
        let mut sites = self.0.sites.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(site) = sites.get(&source.url).filter(|site| site.is_of(source)) {
            return Arc::clone(site);
        }
        let site = Arc::new(Site::new(source));
        sites.insert(source.url.clone(), Arc::clone(&site));
        site
    }
}

/// Waits before attempt `number` + 1: by the back-off, and no shorter than the source asked for.
async fn pause(number: u32, after: Option<Duration>) {
    let wait = backoff::delay(number, rand::random());
    tokio::time::sleep(wait.max(after.unwrap_or_default())).await;
}

fn disk_fault(action: &str, error: &std::io::Error) -> Fault {
    Fault::new(RefusalReason::Disk, format!("cannot {action}: {error}"))
}

/// A task of ours was ended: the process is stopping.
fn local_fault(error: &dyn std::error::Error) -> Fault {
    Fault::new(RefusalReason::Disk, format!("the transfer was ended here: {error}"))
}

/// Whether a status means that a file is not there. Object stores say 403 for what is not there.
fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it pauses, on a clock that goes only with the waits.
    async fn paused(number: u32, after: Option<Duration>) -> Duration {
        let began = tokio::time::Instant::now();
        pause(number, after).await;
        began.elapsed()
    }

    /// The grain of the clock.
    const GRAIN: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn attempts_are_repeated_after_waits_that_differ_and_are_bounded() {
        for (number, bound) in [(1, 200), (2, 400), (3, 800), (4, 1600), (20, 10_000)] {
            let bound = Duration::from_millis(bound);
            let mut waits = Vec::new();
            for _ in 0..40 {
                waits.push(paused(number, None).await);
            }
            assert!(waits.iter().all(|wait| *wait <= bound + GRAIN), "{number}: {waits:?}");
            // Forty of several hundred, by chance: that all are one, or none is in the upper half, does not happen.
            waits.sort();
            waits.dedup();
            assert!(waits.len() > 5, "{number}: many that failed at once come back at once: {waits:?}");
            assert!(waits.last().is_some_and(|longest| *longest > bound / 2), "{number}: {waits:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_names_a_time_is_not_asked_before() {
        for seconds in [1, 3, 60] {
            let after = Duration::from_secs(seconds);
            for number in [1, 2] {
                let wait = paused(number, Some(after)).await;
                assert!(wait >= after && wait <= after + GRAIN, "{number}: {wait:?}");
            }
            // Where the back-off is longer, that holds.
            let wait = paused(20, Some(after)).await;
            assert!(wait >= after && wait <= after.max(Duration::from_secs(10)) + GRAIN, "{wait:?}");
        }
    }
}
