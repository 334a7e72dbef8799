//! Asking sources over HTTP.

mod answer;
mod download;
mod pace;
mod writer;

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use granary_nix::{BaseUrl, HashPart, NarInfo};
use granary_placement::report::RefusalReason;
use reqwest::{Response, StatusCode, Url, header, redirect};
use tokio::sync::Semaphore;

use crate::circuit::Circuit;
use crate::watch::{Asked, Outcome, Running, Watch, Watched};
use crate::{Expected, Fault, Growth, Limits, Source, SourceKind, Verified, backoff, narinfo};
use answer::{Attempt, Class, classify};
use download::Target;

/// Attempts at one source before the next is asked.
const ATTEMPTS: u32 = 3;
/// Most redirects that are followed.
const REDIRECTS: usize = 10;
/// The mark of a request that comes from a mirror, see [`SourceKind::Mirror`].
const HOP: &str = "granary-hop";

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
    client: reqwest::Client,
    limits: Limits,
    connections: Semaphore,
    decoders: Semaphore,
    circuits: Mutex<HashMap<BaseUrl, Circuit>>,
    watch: Arc<dyn Watch>,
}

impl Fetcher {
    /// A fetcher that keeps to `limits`. The process must have a default TLS provider.
    pub fn new(limits: Limits) -> Result<Self, FetcherError> {
        Self::watched(limits, Arc::new(()))
    }

    /// The same, and `watch` is told what it does.
    pub fn watched(limits: Limits, watch: Arc<dyn Watch>) -> Result<Self, FetcherError> {
        let policy = redirect::Policy::custom(|attempt| {
            if attempt.previous().len() > REDIRECTS {
                attempt.error("more than 10 redirects")
            } else if matches!(attempt.url().scheme(), "http" | "https") {
                attempt.follow()
            } else {
                attempt.error("a redirect to something that is neither http nor https")
            }
        });
        let mut headers = header::HeaderMap::new();
        // A NAR file's bytes are hashed as they come, so nobody may compress them on the way.
        headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("identity"));
        let client = reqwest::Client::builder()
            .user_agent(concat!("granary-mirror/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .redirect(policy)
            .referer(false)
            .connect_timeout(limits.connect)
            .build()?;
        Ok(Self(Arc::new(Shared {
            client,
            connections: Semaphore::new(limits.connections.max(1)),
            decoders: Semaphore::new(limits.decoders.max(1)),
            limits,
            circuits: Mutex::default(),
            watch,
        })))
    }

    /// The limits that it keeps to.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Why the source did not answer the last time that it was asked; `None` when it did, or was never asked.
    #[must_use]
    pub fn trouble(&self, source: &Source) -> Option<String> {
        self.circuits().get(&source.url).and_then(|circuit| circuit.trouble().map(str::to_owned))
    }

    /// The source's narinfo for an artifact, admitted by [`narinfo::admit`]; `None` when the source does not have it.
    pub async fn narinfo(&self, source: &Source, hash: &HashPart) -> Result<Option<NarInfo>, Fault> {
        let url = source.url.join(&hash.narinfo_name())?;
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
        let response = self.send(source, Asked::NarInfo, url.clone(), &[]).await?;
        match classify(&response) {
            Class::Whole | Class::Part => answer::small_body(response, &self.0.limits).await.map(Some),
            Class::Absent => Ok(None),
            Class::Failed { again } => Err(answer::failed(&response, again)),
        }
    }

    /// Fetches the NAR file of one of the source's narinfos into a new file at `path`, and verifies it. On any failure
    /// there is no file.
    ///
    /// The file is written, but not synced. While it is decompressed no connection is held, and while it is transferred no
    /// decoder is.
    pub async fn nar(&self, source: &Source, info: &NarInfo, path: &Path) -> Result<Verified, Fault> {
        self.nar_into(source, info, &Target { path, growth: None }).await
    }

    /// The same, for a file that is read while it is written: `growth` tells how far it is. Nothing in it is verified
    /// before this returns.
    pub async fn nar_followed(
        &self,
        source: &Source,
        info: &NarInfo,
        path: &Path,
        growth: &Arc<Growth>,
    ) -> Result<Verified, Fault> {
        self.nar_into(source, info, &Target { path, growth: Some(growth) }).await
    }

    async fn nar_into(&self, source: &Source, info: &NarInfo, to: &Target<'_>) -> Result<Verified, Fault> {
        let result = self.try_nar(source, info, to).await;
        if result.is_err() {
            // It may never have been created.
            let _ = std::fs::remove_file(to.path);
        }
        result
    }

    async fn try_nar(&self, source: &Source, info: &NarInfo, to: &Target<'_>) -> Result<Verified, Fault> {
        let url = narinfo::nar_url(info, source)?;
        let expected = Expected::from(info);
        if let Some(most) = self.0.limits.max_nar_size.filter(|most| expected.nar_size > *most) {
            let message = format!("the NAR has {} bytes; limits.maxNarSize is {most}", expected.nar_size);
            return Err(Fault::new(RefusalReason::TooLarge, message));
        }
        let first = self.transfer(source, &url, &expected, to, true).await?;
        match self.check(expected, to.path).await {
            // Two halves may have been of two different files.
            Err(fault) if first.resumed && !fault.is_transient() => {
                tracing::info!(%url, %fault, "a resumed transfer gave wrong bytes; once more from the start");
                self.transfer(source, &url, &expected, to, false).await?;
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
        resume: bool,
    ) -> Result<download::Done, Fault> {
        let _held = self.0.connections.acquire().await.map_err(|error| local_fault(&error))?;
        self.may_ask(source)?;
        let _counted = Running::transfer(&*self.0.watch);
        let result = download::download(self, source, url, expected, to, resume).await;
        self.learn(source, result.as_ref().err());
        result
    }

    async fn check(&self, expected: Expected, path: &Path) -> Result<Verified, Fault> {
        let _held = self.0.decoders.acquire().await.map_err(|error| local_fault(&error))?;
        let _counted = Running::verification(&*self.0.watch);
        let (path, watch, began) = (path.to_owned(), Arc::clone(&self.0.watch), Instant::now());
        let check = move || File::open(&path).and_then(|inner| expected.check(Watched { inner, watch }));
        let result = tokio::task::spawn_blocking(check).await.map_err(|error| local_fault(&error))?;
        self.0.watch.verified(began.elapsed());
        result.unwrap_or_else(|error| Err(disk_fault("read back a NAR file", &error)))
    }

    /// Sends one request; waits for the head of the answer.
    async fn send(
        &self,
        source: &Source,
        what: Asked,
        url: Url,
        headers: &[(header::HeaderName, String)],
    ) -> Result<Response, Attempt> {
        let mut request = self.0.client.get(url);
        if source.kind == SourceKind::Mirror {
            request = request.header(HOP, "1");
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = tokio::time::timeout(self.0.limits.silence, request.send()).await;
        let outcome = match &answer {
            Ok(Ok(response)) => answer::outcome(response),
            Ok(Err(_)) => Outcome::Unreachable,
            Err(_) => Outcome::Silent,
        };
        self.0.watch.asked(source, what, outcome);
        match answer {
            Ok(Ok(response)) => Ok(response),
            // A redirect that was refused, or a request that cannot be made, is the same the next time.
            Ok(Err(error)) if error.is_redirect() || error.is_builder() => Err(Attempt::unreachable(&error)),
            Ok(Err(error)) => Err(Attempt::Again { why: answer::words(&error), after: None }),
            // Who said nothing for that long is not given another such time while others could be asked.
            Err(_) => Err(Attempt::Last(answer::silent(self.0.limits.silence))),
        }
    }

    /// Refuses to ask a source that is left alone.
    fn may_ask(&self, source: &Source) -> Result<(), Fault> {
        let circuits = self.circuits();
        let circuit = circuits.get(&source.url);
        match circuit.and_then(|circuit| Some((circuit.left_alone(Instant::now())?, circuit.trouble()))) {
            None => Ok(()),
            Some((left, trouble)) => {
                let trouble = trouble.unwrap_or("it failed");
                let message = format!("left alone for {:.0} s more: {trouble}", left.as_secs_f64().ceil());
                Err(Fault::new(RefusalReason::UpstreamUnreachable, message))
            }
        }
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

    fn circuits(&self) -> MutexGuard<'_, HashMap<BaseUrl, Circuit>> {
        // Each change is one assignment, so that a thread that panicked left no damage.
        self.0.circuits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits before attempt `number` + 1: as long as the source asked for, within reason, else by the back-off.
async fn pause(number: u32, after: Option<Duration>) {
    let wait = after.unwrap_or_else(|| backoff::delay(number, rand::random()));
    tokio::time::sleep(wait.min(Duration::from_secs(10))).await;
}

fn disk_fault(action: &str, error: &std::io::Error) -> Fault {
    Fault::new(RefusalReason::Disk, format!("cannot {action}: {error}"))
}

/// A task of ours was ended: the process is stopping.
fn local_fault(error: &dyn std::error::Error) -> Fault {
    Fault::new(RefusalReason::Disk, format!("the transfer was ended here: {error}"))
}

impl Attempt {
    fn unreachable(error: &reqwest::Error) -> Self {
        Self::Last(Fault::new(RefusalReason::UpstreamUnreachable, answer::words(error)))
    }
}

/// Whether a status means that a file is not there. Object stores say 403 for what is not there.
fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::FORBIDDEN)
}
