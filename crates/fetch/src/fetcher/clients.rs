//! The HTTP clients. None of them follows a redirect: where one leads is decided here, and credentials go with none.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, header, redirect};

use crate::access::Reach;
use crate::access::hosts::Way;

/// Clients with the same authorities.
#[derive(Debug)]
pub(super) struct Clients {
    connect: Duration,
    /// How long an answer may pause; `None` when who reads it looks at that.
    silence: Option<Duration>,
    authorities: Vec<Certificate>,
    /// For hosts that the configuration names.
    named: Client,
    /// For hosts that a redirect names, by how near they may be; made when there is one.
    led_to: Mutex<HashMap<Reach, Client>>,
}

impl Clients {
    pub(super) fn new(
        connect: Duration,
        silence: Option<Duration>,
        authorities: Vec<Certificate>,
    ) -> Result<Self, reqwest::Error> {
        let named = build(connect, silence, &authorities, None)?;
        Ok(Self { connect, silence, authorities, named, led_to: Mutex::default() })
    }

    pub(super) fn by(&self, way: Way) -> Result<Client, reqwest::Error> {
        let Way::Within(reach) = way else { return Ok(self.named.clone()) };
        let mut led_to = self.led_to.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = led_to.get(&reach) {
            return Ok(client.clone());
        }
        let client = build(self.connect, self.silence, &self.authorities, Some(reach))?;
        led_to.insert(reach, client.clone());
        Ok(client)
    }
}

fn build(
    connect: Duration,
    silence: Option<Duration>,
    authorities: &[Certificate],
    within: Option<Reach>,
) -> Result<Client, reqwest::Error> {
    let mut headers = header::HeaderMap::new();
    // A NAR file's bytes are hashed as they come, so nobody may compress them on the way.
    headers.insert(header::ACCEPT_ENCODING, header::HeaderValue::from_static("identity"));
    let mut builder = Client::builder()
        .user_agent(concat!("granary-mirror/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .referer(false)
        .connect_timeout(connect);
    if let Some(silence) = silence {
        builder = builder.read_timeout(silence);
    }
    if !authorities.is_empty() {
        builder = builder.tls_certs_merge(authorities.iter().cloned());
    }
    if let Some(reach) = within {
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
