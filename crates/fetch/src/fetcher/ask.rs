//! One request, with the redirects that follow from it, and the body of its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use granary_nix::ContentRange;
use granary_placement::report::RefusalReason;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode, Url, header};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::{self, Attempt};
use super::pace::Pace;
use super::throttle::{self, Throttle};
use super::{Fetcher, local_fault};
use crate::access::hosts::Way;
use crate::access::{Hosts, at};
use crate::watch::{Asked, Outcome};
use crate::{Fault, Limits, Source, SourceKind};

/// Most redirects that are followed.
pub(super) const REDIRECTS: usize = 10;
/// The mark of a request that comes from a mirror, see [`SourceKind::Mirror`].
const HOP: &str = "granary-hop";

/// An answer whose head has come. Reading its body keeps to the limits: of the time that a source may take, and of the bytes
/// that may come in a second.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    silence: Duration,
    pace: Pace,
    throttles: Vec<Arc<Throttle>>,
    /// One of the source's connections, as long as this lives.
    _slot: Option<OwnedSemaphorePermit>,
}

/// Why a body ended before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The connection broke.
    #[error("{0}")]
    Cut(String),
    /// Nothing came for too long.
    #[error("{0}")]
    Silent(Fault),
    /// It came too slowly.
    #[error("{0}")]
    Slow(Fault),
}

impl Answer {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// How many bytes are said to follow.
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// Which part of the file follows, if the answer says so and can be understood.
    #[must_use]
    pub fn content_range(&self) -> Option<ContentRange> {
        ContentRange::parse(self.headers().get(header::CONTENT_RANGE)?.to_str().ok()?)
    }

    /// The next bytes of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Broken> {
        let asked = Instant::now();
        let chunk = match tokio::time::timeout(self.silence, self.response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(error)) => return Err(Broken::Cut(answer::words(error))),
            Err(_) => return Err(Broken::Silent(answer::silent(self.silence))),
        };
        // The wait for our own limits is not the source's.
        self.pace.received(chunk.len(), asked.elapsed()).map_err(Broken::Slow)?;
        throttle::pass(&self.throttles, chunk.len()).await;
        Ok(Some(chunk))
    }

    /// The body, which must not have more than `most` bytes; `None` when it has.
    pub async fn whole(mut self, most: usize) -> Result<Option<Vec<u8>>, Broken> {
        if self.content_length().is_some_and(|length| length > most as u64) {
            return Ok(None);
        }
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > most {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }
}

impl Fetcher {
    /// Asks a source once for one of its files, or for where its narinfo says that a NAR file is, and waits for the head of the
    /// answer, whatever its status. When the source has as many requests as its `connections` allow, waits for one to end, but
    /// no longer than a silent source is waited for. A source that asked for a rest is not asked.
    pub async fn get(
        &self,
        source: &Source,
        what: Asked,
        url: Url,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, Fault> {
        let slot = tokio::time::timeout(self.limits().silence, self.slot(source)).await;
        let slot = slot.unwrap_or_else(|_| {
            let message = "all connections that it may have (upstreams[].connections) are in use";
            Err(Fault::new(RefusalReason::UpstreamUnreachable, message))
        })?;
        self.may_disturb(source)?;
        match self.send(source, what, url, headers).await {
            Ok(answer) => Ok(Answer { _slot: slot, ..answer }),
            Err(Attempt::Last(fault)) => Err(fault),
            Err(Attempt::Again { why, .. }) => Err(answer::gave_up(&why)),
        }
    }

    /// One of the connections that the source may have.
    pub(super) async fn slot(&self, source: &Source) -> Result<Option<OwnedSemaphorePermit>, Fault> {
        match &self.site(source).slots {
            Some(slots) => {
                Arc::clone(slots).acquire_owned().await.map(Some).map_err(|error| local_fault(&error))
            }
            None => Ok(None),
        }
    }

    /// Sends one request and follows redirects; waits for the head of the answer.
    pub(super) async fn send(
        &self,
        source: &Source,
        what: Asked,
        url: Url,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Result<Answer, Attempt> {
        let site = self.site(source);
        let clients = site.clients(&self.0.clients, self.limits().connect).map_err(Attempt::Last)?;
        let secret = secret(source).map_err(Attempt::Last)?;
        let mut way = Hosts::way(&source.url, &url);
        let mut url = url;
        for _ in 0..=REDIRECTS {
            let client =
                clients.by(way).map_err(|error| Attempt::Last(answer::gave_up(&answer::words(error))))?;
            let mut request = client.get(url.clone());
            if source.kind == SourceKind::Mirror {
                request = request.header(HOP, "1");
            }
            for (name, value) in headers {
                request = request.header(name, value);
            }
            if let Some(secret) = secret.as_ref().filter(|_| way == Way::Own) {
                request = request.header(header::AUTHORIZATION, secret);
            }
            let answer = tokio::time::timeout(self.limits().silence, request.send()).await;
            let sent_on = answer.as_ref().is_ok_and(|answer| answer.as_ref().is_ok_and(is_redirect));
            if !sent_on {
                self.0.watch.asked(source, what, outcome(&answer));
            }
            let response = match answer {
                Ok(Ok(response)) => response,
                // A request that cannot be made is the same the next time.
                Ok(Err(error)) if error.is_builder() => {
                    return Err(Attempt::Last(answer::gave_up(&at(&url, way, answer::words(error)))));
                }
                Ok(Err(error)) => {
                    return Err(Attempt::Again {
                        why: clients.words(at(&url, way, answer::words(error))),
                        after: None,
                    });
                }
                // Who said nothing for that long is not given another such time while others could be asked.
                Err(_) => return Err(Attempt::Last(answer::silent(self.limits().silence))),
            };
            let Some(location) = location(&response) else {
                let throttles = self.0.throttle.iter().chain(&site.throttle).cloned().collect();
                let answer = Answer::new(response, self.limits(), throttles);
                if let Some((time, words)) = answer::rest_of(&answer) {
                    self.give_rest(source, time, words);
                }
                return Ok(answer);
            };
            let lead = source.access.hosts.lead(&source.url, &url, clients.reach(&response), &location);
            (url, way) = lead.map_err(|error| Attempt::Last(answer::gave_up(&error.to_string())))?;
        }
        Err(Attempt::Last(answer::gave_up("more than 10 redirects")))
    }
}

impl Answer {
    fn new(response: Response, limits: &Limits, throttles: Vec<Arc<Throttle>>) -> Self {
        Self { response, silence: limits.silence, pace: Pace::new(limits), throttles, _slot: None }
    }
}

/// What the source's credentials are now.
fn secret(source: &Source) -> Result<Option<HeaderValue>, Fault> {
    let Some(credentials) = &source.access.credentials else { return Ok(None) };
    credentials.header(source.url.host()).map(Some).map_err(|error| {
        let message = format!("its credentials cannot be used: {error}");
        Fault::new(RefusalReason::UpstreamUnreachable, message)
    })
}

/// What came of a request, for who watches.
fn outcome<E>(answer: &Result<reqwest::Result<Response>, E>) -> Outcome {
    match answer {
        Ok(Ok(response)) => answer::outcome(response.status()),
        Ok(Err(_)) => Outcome::Unreachable,
        Err(_) => Outcome::Silent,
    }
}

/// Where the answer sends us, if it does.
pub(super) fn location(response: &Response) -> Option<String> {
    let location = response.headers().get(header::LOCATION).filter(|_| is_redirect(response))?;
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

fn is_redirect(response: &Response) -> bool {
    matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308)
        && response.headers().contains_key(header::LOCATION)
}
