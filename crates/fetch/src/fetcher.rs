//! Asking sources over HTTP.

mod answer;
mod ask;
mod clients;
mod decoders;
mod download;
mod file;
mod pace;
mod site;
mod throttle;
mod web;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use granary_nix::{BaseUrl, HashPart, NarInfo};
use granary_placement::report::RefusalReason;
use reqwest::{StatusCode, Url};
use tokio::sync::Semaphore;

use crate::circuit::Circuit;
use crate::rest::Rest;
use crate::watch::{Asked, Running, Watch, Watched};
use crate::{Expected, Fault, Growth, Limits, Source, Verified, backoff, narinfo};
use answer::{Attempt, Class, classify};
use clients::{Clients, Terms};
use decoders::Decoders;
use download::{Start, Target};
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

    /// Why the source did not answer the last time that it was asked, or that it has a rest; `None` when it answered, or was
    /// never asked.
    #[must_use]
    pub fn trouble(&self, source: &Source) -> Option<String> {
        let failed =
            self.circuits().get(&source.url).and_then(|circuit| circuit.trouble().map(str::to_owned));
        failed.or_else(|| Some(self.rests().get(&source.url)?.active(Instant::now())?.1.to_owned()))
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

    /// Fetches the NAR file of one of the source's narinfos into a new file at `path`, and verifies it. On any failure
    /// there is no file.
    ///
    /// The file is written, but not synced. While it is decompressed no connection is held, and while it is transferred no
    /// decoder is.
    pub async fn nar(&self, source: &Source, info: &NarInfo, path: &Path) -> Result<Verified, Fault> {
        let result = self.try_nar(source, info, &Target { path, growth: None }, 0).await;
        if result.is_err() {
            // It may never have been created.
            let _ = std::fs::remove_file(path);
        }
        result
    }

    /// The same as [`Self::nar`], going on after what an earlier attempt left at `path`, if anything. The file stays when the
    /// source broke off or does not have it. Wrong bytes are fetched once more from the start, unless all of them came now; then
    /// there is no file.
    pub async fn rest_of_nar(&self, source: &Source, info: &NarInfo, path: &Path) -> Result<Verified, Fault> {
        self.rest_into(source, info, &Target { path, growth: None }).await
    }

    /// The same, for a file that is read while it is written: `growth` tells how far it is. Nothing in it is verified
    /// before this returns.
    pub async fn rest_of_nar_followed(
        &self,
        source: &Source,
        info: &NarInfo,
        path: &Path,
        growth: &Arc<Growth>,
    ) -> Result<Verified, Fault> {
        self.rest_into(source, info, &Target { path, growth: Some(growth) }).await
    }

    async fn rest_into(&self, source: &Source, info: &NarInfo, to: &Target<'_>) -> Result<Verified, Fault> {
        let most = Expected::from(info).most_bytes();
        let have = std::fs::metadata(to.path).map_or(0, |file| file.len());
        let have = if have > most { 0 } else { have };
        let result = self.try_nar(source, info, to, have).await;
        let goes_on = |fault: &Fault| {
            matches!(fault.reason, RefusalReason::UpstreamUnreachable | RefusalReason::NotFound)
        };
        if result.as_ref().is_err_and(|fault| !goes_on(fault)) {
            let _ = std::fs::remove_file(to.path);
        }
        result
    }

    /// `have` bytes are there already.
    async fn try_nar(
        &self,
        source: &Source,
        info: &NarInfo,
        to: &Target<'_>,
        have: u64,
    ) -> Result<Verified, Fault> {
        let url = narinfo::nar_url(info, source)?;
        let expected = Expected::from(info);
        if let Some(most) = self.0.limits.max_nar_size.filter(|most| expected.nar_size > *most) {
            let message = format!("the NAR has {} bytes; limits.maxNarSize is {most}", expected.nar_size);
            return Err(Fault::new(RefusalReason::TooLarge, message));
        }
        let resumed = if have > 0 && expected.file_size == Some(have) {
            // The process ended between the last byte and the check.
            true
        } else {
            self.transfer(source, &url, &expected, to, Start::After(have)).await?.resumed
        };
        match self.check(expected, to.path).await {
            // Two halves may have been of two different files.
            Err(fault) if resumed && !fault.is_transient() => {
                tracing::info!(%url, %fault, "a resumed transfer gave wrong bytes; once more from the start");
                if let Some(growth) = to.growth {
                    growth.wrong();
                }
                self.transfer(source, &url, &expected, to, Start::Anew).await?;
                self.check(expected, to.path).await
            }
            result => result,
        }
    }

    async fn transfer(
        &self,
        source: &Source,
        url: &Url,
        expected: &Expected,
        to: &Target<'_>,
        start: Start,
    ) -> Result<download::Done, Fault> {
        // The source's own first: who waits for that keeps no other source waiting.
        let _slot = self.slot(source).await?;
        let _held = self.0.connections.acquire().await.map_err(|error| local_fault(&error))?;
        self.may_ask(source)?;
        let _counted = Running::transfer(&*self.0.watch);
        let result = download::download(self, source, url, expected, to, start).await;
        self.learn(source, result.as_ref().err());
        result
    }

    async fn check(&self, expected: Expected, path: &Path) -> Result<Verified, Fault> {
        let (path, watch) = (path.to_owned(), Arc::clone(&self.0.watch));
        let check = move || {
            let (_counted, began) = (Running::verification(&*watch), Instant::now());
            let watched = |inner| Watched { inner, watch: Arc::clone(&watch) };
            let result = File::open(&path).and_then(|inner| expected.check(watched(inner)));
            watch.verified(began.elapsed());
            result
        };
        let result = self.0.decoders.run(check).await.map_err(|error| local_fault(&error))?;
        result.unwrap_or_else(|error| Err(disk_fault("read back a NAR file", &error)))
    }

    /// Refuses to ask a source that is left alone, for its failures or because it asked for that.
    fn may_ask(&self, source: &Source) -> Result<(), Fault> {
        self.may_disturb(source)?;
        let circuits = self.circuits();
        let circuit = circuits.get(&source.url);
        match circuit.and_then(|circuit| Some((circuit.left_alone(Instant::now())?, circuit.trouble()))) {
            None => Ok(()),
            Some((left, trouble)) => Err(left_alone(left, trouble.unwrap_or("it failed"))),
        }
    }

    /// Refuses to ask a source that asked for a rest.
    fn may_disturb(&self, source: &Source) -> Result<(), Fault> {
        match self.rests().get(&source.url).and_then(|rest| rest.active(Instant::now())) {
            None => Ok(()),
            Some((left, words)) => Err(left_alone(left, words)),
        }
    }

    /// Leaves a source alone for as long as it asks for.
    fn give_rest(&self, source: &Source, time: Duration, words: String) {
        tracing::info!(source = %source.url, "{words}");
        let rest = Rest::new(Instant::now(), time, words);
        let mut rests = self.rests();
        let rest = match rests.remove(&source.url) {
            Some(earlier) => earlier.longer(rest),
            None => rest,
        };
        rests.insert(source.url.clone(), rest);
    }

    fn learn(&self, source: &Source, fault: Option<&Fault>) {
        let mut circuits = self.circuits();
        let circuit = circuits.entry(source.url.clone()).or_default();
        match fault {
            Some(fault) if fault.reason == RefusalReason::UpstreamUnreachable => {
                circuit.failed(Instant::now(), fault.message.clone());
            }
            // Our disk says nothing about the source.
            Some(fault) if fault.reason == RefusalReason::Disk => {}
            _ => circuit.answered(),
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

    fn rests(&self) -> MutexGuard<'_, HashMap<BaseUrl, Rest>> {
        self.0.rests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn circuits(&self) -> MutexGuard<'_, HashMap<BaseUrl, Circuit>> {
        // Each change is one assignment, so that a thread that panicked left no damage.
        self.0.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits before attempt `number` + 1: by the back-off, and no shorter than the source asked for.
async fn pause(number: u32, after: Option<Duration>) {
    let wait = backoff::delay(number, rand::random());
    tokio::time::sleep(wait.max(after.unwrap_or_default())).await;
}

/// The fault of a source that is not asked.
fn left_alone(left: Duration, why: &str) -> Fault {
    let message = format!("left alone for {:.0} s more: {why}", left.as_secs_f64().ceil());
    Fault::new(RefusalReason::UpstreamUnreachable, message)
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
