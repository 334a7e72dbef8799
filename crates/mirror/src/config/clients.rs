//! `clients`: what one client, and all of them together, may take of nginx.

use granary_placement::is_network;
use serde::Deserialize;

use super::check::{Checked, field};

/// Bounds on what clients take. The defaults are far above what honest ones do: a Nix opens 25 connections, and a hundred
/// machines behind one address 2,500.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// NAR files that go to one address at once. One more is answered 503 with `Retry-After`, on which a Nix waits.
    pub connections_per_address: u32,
    /// Requests of one address in a second, in the long run. More are answered later, and a flood with 429. `None`: no
    /// bound.
    pub requests_per_second: Option<u32>,
    /// Connections at once, of everybody.
    pub max_connections: u32,
    /// How long a client may take to send the head of a request, in seconds.
    pub header_seconds: u32,
    /// Addresses and networks of proxies, whose word in `X-Forwarded-For` is taken for the client's address.
    pub trusted_proxies: Vec<String>,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            connections_per_address: 2_500,
            requests_per_second: None,
            max_connections: 16_384,
            header_seconds: 10,
            trusted_proxies: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawClients {
    connections_per_address: Option<u32>,
    requests_per_second: Option<u32>,
    max_connections: Option<u32>,
    header_seconds: Option<u32>,
    #[serde(default)]
    trusted_proxies: Vec<String>,
}

pub(super) fn check(raw: RawClients) -> Checked<Clients> {
    let RawClients {
        connections_per_address,
        requests_per_second,
        max_connections,
        header_seconds,
        trusted_proxies,
    } = raw;
    let default = Clients::default();
    let within = |name: &str, value: u32, least: u32, most: u32| {
        if (least..=most).contains(&value) {
            return Ok(value);
        }
        Err(field(format!("clients.{name}"), format!("{value} is not between {least} and {most}")))
    };
    let requests =
        requests_per_second.map(|rate| within("requestsPerSecond", rate, 1, 1_000_000)).transpose()?;
    for (index, proxy) in trusted_proxies.iter().enumerate() {
        if !is_network(proxy) {
            return Err(field(
                format!("clients.trustedProxies[{index}]"),
                format!("{proxy:?} is neither an address nor a network, as 10.0.0.1 or 10.0.0.0/8"),
            ));
        }
    }
    Ok(Clients {
        connections_per_address: within(
            "connectionsPerAddress",
            connections_per_address.unwrap_or(default.connections_per_address),
            1,
            65_535,
        )?,
        requests_per_second: requests,
        max_connections: within(
            "maxConnections",
            max_connections.unwrap_or(default.max_connections),
            64,
            1_000_000,
        )?,
        header_seconds: within("headerSeconds", header_seconds.unwrap_or(default.header_seconds), 1, 600)?,
        trusted_proxies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(yaml: &str) -> Result<Clients, String> {
        check(serde_yaml::from_str(yaml).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(parse("{}").unwrap(), Clients::default());
        let clients = parse("{requestsPerSecond: 50, trustedProxies: ['10.0.0.0/8', '::1']}").unwrap();
        assert_eq!(clients.requests_per_second, Some(50));
        assert_eq!(clients.max_connections, Clients::default().max_connections);
    }

    #[test]
    fn every_error_names_its_field() {
        for (yaml, word) in [
            ("{connectionsPerAddress: 0}", "clients.connectionsPerAddress:"),
            ("{requestsPerSecond: 0}", "clients.requestsPerSecond:"),
            ("{maxConnections: 1}", "clients.maxConnections:"),
            ("{headerSeconds: 0}", "clients.headerSeconds:"),
            ("{trustedProxies: ['10.0.0.1', 'proxy']}", "clients.trustedProxies[1]:"),
            ("{trustedProxies: ['10.0.0.0/33']}", "clients.trustedProxies[0]:"),
            ("{trustedProxies: ['10.0.0.0/8; return 200']}", "clients.trustedProxies[0]:"),
        ] {
            let error = parse(yaml).unwrap_err();
            assert!(error.contains(word), "{yaml}: {error}");
        }
    }
}
