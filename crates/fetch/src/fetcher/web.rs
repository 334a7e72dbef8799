//! What is no artifact and comes from no source: the lists of channels, the mirror map. Who is asked for it leads no further
//! than a source does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_nix::BaseUrl;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Response, Url};

use super::FetcherError;
use super::answer::words;
use super::ask::{REDIRECTS, location, reach};
use super::clients::Clients;
use crate::Limits;
use crate::access::hosts::{LeadError, Way};
use crate::access::{Hosts, at};

/// Asks for documents of the configured URLs. A cheap handle.
#[derive(Clone, Debug)]
pub struct WebClient(Arc<Clients>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// What is asked for is no URL of http or https.
    #[error("{0} is no URL that can be asked for")]
    Url(String),
    /// No connection, or one that broke, or silence.
    #[error("{0}")]
    Request(String),
    /// The answer leads nearer to us than who gave it.
    #[error("a redirect to {0}, which is nearer to this machine than who sends there")]
    TooNear(String),
    /// The answer leads somewhere else where it must not.
    #[error(transparent)]
    Lead(LeadError),
    /// Too many answers that lead on.
    #[error("more than {REDIRECTS} redirects")]
    Loop,
}

impl WebClient {
    /// A client that keeps to the limits of connecting and of silence. The process must have a default TLS provider.
    pub fn new(limits: &Limits) -> Result<Self, FetcherError> {
        Ok(Self(Arc::new(Clients::new(limits.connect, Some(limits.silence), Vec::new())?)))
    }

    /// Asks, follows redirects by the [usual rules](Hosts::Usual), and waits for the head of an answer, whatever its status.
    /// Everything, with the body, must end `within` this time. The headers go to every server on the way.
    pub async fn get(
        &self,
        url: &str,
        headers: &[(HeaderName, HeaderValue)],
        within: Duration,
    ) -> Result<Response, WebError> {
        let bad = || WebError::Url(url.chars().take(200).collect());
        let mut url = Url::parse(url).map_err(|_| bad())?;
        let base: BaseUrl = url.origin().ascii_serialization().parse().map_err(|_| bad())?;
        let (began, mut way) = (Instant::now(), Way::Own);
        for _ in 0..=REDIRECTS {
            let failed = |error| WebError::Request(at(&url, way, words(error)));
            let left = within.saturating_sub(began.elapsed());
            let mut request = self.0.by(way).map_err(failed)?.get(url.clone()).timeout(left);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let answer = request.send().await.map_err(failed)?;
            let Some(location) = location(&answer) else { return Ok(answer) };
            (url, way) = Hosts::Usual.lead(&base, &url, reach(&answer), &location)?;
        }
        Err(WebError::Loop)
    }
}

impl From<LeadError> for WebError {
    fn from(error: LeadError) -> Self {
        match error {
            LeadError::TooNear(to) => Self::TooNear(to),
            error => Self::Lead(error),
        }
    }
}
