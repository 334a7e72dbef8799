//! How a mirror is reached.

use granary_crds::{
    cache_mirror::{self, MAX_CLIENTS, MAX_RATE, MIN_CONNECTIONS},
    is_object_name,
};
use granary_placement::is_network;

use super::Invalid;

/// How clients reach the holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    /// A port of the node that leads to the holder on it.
    pub host_port: Option<u16>,
    /// The type of the Service over all holders.
    pub service_type: cache_mirror::ServiceType,
    /// HTTPS.
    pub tls: Option<Tls>,
    /// What clients may take.
    pub clients: Clients,
}

/// HTTPS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The Secret with the certificate.
    pub secret: String,
    /// A port of the node that leads to it.
    pub host_port: Option<u16>,
}

/// Bounds on what clients take; `None`: as the mirror has it by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// NAR files to one address at once.
    pub connections_per_address: Option<u32>,
    /// Requests of one address in a second.
    pub requests_per_second: Option<u32>,
    /// Connections of everybody.
    pub max_connections: Option<u32>,
    /// Whose word is taken for the client's address.
    pub trusted_proxies: Vec<String>,
}

pub(super) fn check(serving: &cache_mirror::Serving, faults: &mut Vec<Invalid>) -> Serving {
    let cache_mirror::Serving { host_port, service, tls, clients } = serving;
    let host_port = port("spec.serving.hostPort", *host_port, faults);
    let tls = tls.as_ref().map(|tls| check_tls(tls, faults));
    if let (Some(plain), Some(Tls { host_port: Some(secure), .. })) = (host_port, &tls)
        && plain == *secure
    {
        faults.push(Invalid::OneHostPort(plain));
    }
    Serving { host_port, service_type: service.type_, tls, clients: check_clients(clients, faults) }
}

fn check_tls(tls: &cache_mirror::Tls, faults: &mut Vec<Invalid>) -> Tls {
    let cache_mirror::Tls { secret_name, host_port } = tls;
    if !is_object_name(secret_name) {
        faults.push(Invalid::SecretRef { field: "spec.serving.tls.secretName", value: secret_name.clone() });
    }
    Tls { secret: secret_name.clone(), host_port: port("spec.serving.tls.hostPort", *host_port, faults) }
}

fn port(field: &'static str, port: Option<i32>, faults: &mut Vec<Invalid>) -> Option<u16> {
    let port = port?;
    let good = u16::try_from(port).ok().filter(|port| *port > 0);
    if good.is_none() {
        faults.push(Invalid::Bounds { field, value: port, least: 1, most: i32::from(u16::MAX) });
    }
    good
}

fn check_clients(clients: &cache_mirror::Clients, faults: &mut Vec<Invalid>) -> Clients {
    let cache_mirror::Clients {
        connections_per_address,
        requests_per_second,
        max_connections,
        trusted_proxies,
    } = clients;
    let mut within = |field, value: Option<i32>, least, most| {
        let value = value?;
        if !(least..=most).contains(&value) {
            faults.push(Invalid::Bounds { field, value, least, most });
        }
        u32::try_from(value).ok()
    };
    let checked = Clients {
        connections_per_address: within(
            "spec.serving.clients.connectionsPerAddress",
            *connections_per_address,
            1,
            MAX_CLIENTS,
        ),
        requests_per_second: within(
            "spec.serving.clients.requestsPerSecond",
            *requests_per_second,
            1,
            MAX_RATE,
        ),
        max_connections: within(
            "spec.serving.clients.maxConnections",
            *max_connections,
            MIN_CONNECTIONS,
            MAX_CLIENTS,
        ),
        trusted_proxies: trusted_proxies.clone(),
    };
    faults.extend(trusted_proxies.iter().filter(|proxy| !is_network(proxy)).cloned().map(Invalid::Network));
    checked
}
