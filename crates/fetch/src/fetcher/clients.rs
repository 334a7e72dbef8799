//! The HTTP clients. None of them follows a redirect: where one leads is decided here, and credentials go with none. None
//! takes a proxy from the environment: what it leads to would not be known here, and other mirrors are never beyond one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, Response, header, redirect};

use crate::access::hosts::Way;
use crate::access::{Proxy, Reach};

/// Connections to one host that are kept for the next requests, at most. hyper keeps with each the buffer of its last read, of
/// up to 400 KiB.
const IDLE: usize = 16;

/// What clients have in common.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    /// How long a connection may take to be made.
    pub(super) connect: Duration,
    /// How long an answer may pause; `None` when who reads it looks at that.
    pub(super) silence: Option<Duration>,
    /// Who is trusted besides the system's authorities.
    pub(super) authorities: Vec<Certificate>,
    /// By whom everything is asked.
    pub(super) proxy: Option<Proxy>,
}

/// Clients on the same terms.
#[derive(Debug)]
pub(super) struct Clients {
    terms: Terms,
    /// For hosts that the configuration names.
    named: Client,
    /// For hosts that a redirect names, by how near they may be; made when there is one.
    led_to: Mutex<HashMap<Reach, Client>>,
}

impl Clients {
    pub(super) fn new(terms: Terms) -> Result<Self, reqwest::Error> {
        let named = build(&terms, None)?;
        Ok(Self { terms, named, led_to: Mutex::default() })
    }

    /// How near to us an answer came from. What a proxy gives comes from beyond it, wherever the proxy itself is.
    pub(super) fn reach(&self, response: &Response) -> Reach {
        let peer = response.remote_addr().filter(|_| self.terms.proxy.is_none());
        peer.and_then(|peer| Reach::of(peer.ip())).unwrap_or(Reach::Public)
    }

    /// What went wrong, and that it did so by the proxy, if there is one.
    pub(super) fn words(&self, words: String) -> String {
        match &self.terms.proxy {
            Some(proxy) => format!("by the proxy {proxy}: {words}"),
            None => words,
        }
    }

    pub(super) fn by(&self, way: Way) -> Result<Client, reqwest::Error> {
        let Way::Within(reach) = way else { return Ok(self.named.clone()) };
        let mut led_to = self.led_to.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = led_to.get(&reach) {
            return Ok(client.clone());
        }
        let client = build(&self.terms, Some(reach))?;
        led_to.insert(reach, client.clone());
        Ok(client)
    }
}

fn build(terms: &Terms, within: Option<Reach>) -> Result<Client, reqwest::Error> {
    let Terms { connect, silence, authorities, proxy } = terms;
    let mut headers = header::HeaderMap::new();
    // A NAR file's bytes are hashed as they come, so nobody may compress them on the way.
    headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("identity"));
    let mut builder = Client::builder()
        .user_agent(concat!("granary-mirror/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(*connect)
        .pool_max_idle_per_host(IDLE)
        .no_proxy();
    if let Some(silence) = silence {
        builder = builder.read_timeout(*silence);
    }
    if !authorities.is_empty() {
        builder = builder.tls_certs_merge(authorities.iter().cloned());
    }
    if let Some(proxy) = proxy {
        // It looks names up, and decides what is not to be reached.
        builder = builder.proxy(reqwest::Proxy::all(proxy.url().clone())?);
    } else if let Some(reach) = within {
        builder = builder.dns_resolver(Arc::new(NoNearer(reach)));
    }
    builder.build()
}

/// Names stand for addresses that are no nearer than this, whatever their owner says today.
#[derive(Debug)]
struct NoNearer(Reach);

impl Resolve for NoNearer {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let far: Vec<SocketAddr> = found.filter(|address| reach.may_lead_to(address.ip())).collect();
            if far.is_empty() {
                let words = "it has no address, or one that is nearer to this machine than who sends there; name the \
                             host in allowedHosts if it is right";
                return Err(words.into());
            }
            Ok(Box::new(far.into_iter()) as Addrs)
        })
    }
}
