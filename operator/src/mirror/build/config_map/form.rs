//! The form of the file: that of `crates/mirror/src/config`, as far as the operator uses it.

use serde::Serialize;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config<'a> {
    pub(super) name: &'a str,
    pub(super) directory: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<&'a str>,
    pub(super) upstreams: Vec<Upstream<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) proxy: Option<Proxy<'a>>,
    #[serde(skip_serializing_if = "Limits::is_empty")]
    pub(super) limits: Limits,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pull_through: Option<PullThrough>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) capacity: Option<Capacity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) push: Option<Push<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scrub: Option<Scrub>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extras: Option<Extras>,
    #[serde(skip_serializing_if = "Clients::is_empty")]
    pub(super) clients: Clients<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<Tls>,
    pub(super) map: Map,
    pub(super) publish: Publish<'a>,
    pub(super) listen: Listen,
    pub(super) front_directory: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Upstream<'a> {
    pub(super) url: &'a str,
    pub(super) public_keys: &'a [String],
    pub(super) priority: u16,
    pub(super) signatures: u8,
    pub(super) content_addressed: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credentials: Option<Credentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca_file: Option<String>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) allowed_hosts: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bandwidth: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connections: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct Proxy<'a> {
    pub(super) url: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) except: &'a [String],
}

/// Where the agent reads what an upstream asks for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Credentials {
    BearerFile(String),
    NetrcFile(String),
}

#[derive(Serialize)]
pub(super) struct Limits {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bandwidth: Option<u64>,
}

impl Limits {
    fn is_empty(&self) -> bool {
        let Self { bandwidth } = self;
        bandwidth.is_none()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PullThrough {
    pub(super) max_size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Capacity {
    pub(super) keep_free: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Push<'a> {
    pub(super) token_file: String,
    pub(super) max_size: u64,
    pub(super) public_keys: &'a [String],
    pub(super) allow_plain_http: bool,
}

#[derive(Serialize)]
pub(super) struct Scrub {
    pub(super) enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) period: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bandwidth: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Map {
    pub(super) url: String,
    pub(super) file: String,
    pub(super) poll_seconds: u32,
}

#[derive(Serialize)]
pub(super) struct Publish<'a> {
    pub(super) narinfo: &'a str,
}

#[derive(Serialize)]
pub(super) struct Extras {
    pub(super) listings: &'static str,
    pub(super) logs: bool,
    pub(super) debuginfo: bool,
    pub(super) realisations: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Clients<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connections_per_address: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) requests_per_second: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_connections: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) trusted_proxies: &'a [String],
}

impl Clients<'_> {
    fn is_empty(&self) -> bool {
        let Self { connections_per_address, requests_per_second, max_connections, trusted_proxies } = self;
        connections_per_address.is_none()
            && requests_per_second.is_none()
            && max_connections.is_none()
            && trusted_proxies.is_empty()
    }
}

#[derive(Serialize)]
pub(super) struct Tls {
    pub(super) certificate: String,
    pub(super) key: String,
}

#[derive(Serialize)]
pub(super) struct Listen {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) https: Option<String>,
    pub(super) http: String,
    pub(super) agent: String,
}
