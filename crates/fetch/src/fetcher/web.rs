//! What is no artifact and comes from no source: the lists of channels, the mirror map. Who is asked for it leads no further
//! than a source does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_nix::BaseUrl;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Response, Url};

use super::FetcherError;
use super::answer::words;
use super::ask::{REDIRECTS, location};
use super::clients::{Clients, Terms};
use crate::Limits;
use crate::access::hosts::{LeadError, Way};
use crate::access::{Hosts, Proxying, at};

/// Asks for documents of the configured URLs. A cheap handle.
#[derive(Clone, Debug)]
pub struct WebClient(Arc<Ways>);

#[derive(Debug)]
struct Ways {
    direct: Clients,
    /// For those that are asked by a proxy.
    beyond: Option<(Proxying, Clients)>,
}

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
        Self::by(limits, None)
    }

    /// The same, by a proxy.
    pub fn by(limits: &Limits, proxying: Option<&Proxying>) -> Result<Self, FetcherError> {
        let terms = Terms { connect: limits.connect, silence: Some(limits.silence), ..Terms::default() };
        let beyond = proxying.map(|proxying| {
            let terms = Terms { proxy: Some(proxying.proxy.clone()), ..terms.clone() };
            Clients::new(terms).map(|clients| (proxying.clone(), clients))
        });
        Ok(Self(Arc::new(Ways { beyond: beyond.transpose()?, direct: Clients::new(terms)? })))
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
        let beyond = self.0.beyond.as_ref().filter(|(proxying, _)| proxying.of(&url).is_some());
        let clients = beyond.map_or(&self.0.direct, |(_, clients)| clients);
        let (began, mut way) = (Instant::now(), Way::Own);
        for _ in 0..=REDIRECTS {
            let failed = |error| WebError::Request(clients.words(at(&url, way, words(error))));
            let left = within.saturating_sub(began.elapsed());
            let mut request = clients.by(way).map_err(failed)?.get(url.clone()).timeout(left);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let answer = request.send().await.map_err(failed)?;
            let Some(location) = location(&answer) else { return Ok(answer) };
            (url, way) = Hosts::Usual.lead(&base, &url, clients.reach(&answer), &location)?;
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
