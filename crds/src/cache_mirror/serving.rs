//! How a mirror is reached, and what it adds to what it serves.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::rules;

/// The largest number of connections, or of NAR files at once, that can be allowed.
pub const MAX_CLIENTS: i32 = 65_535;
/// The smallest number of connections of everybody that can be allowed: probes and other mirrors need some.
pub const MIN_CONNECTIONS: i32 = 64;
/// The largest number of requests a second that can be allowed.
pub const MAX_RATE: i32 = 1_000_000;

/// How clients reach the replicas.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.hostPort) || !has(self.tls) || !has(self.tls.hostPort) || self.hostPort != self.tls.hostPort").message("one port of the node cannot speak both HTTP and HTTPS: give hostPort and tls.hostPort different numbers, or leave one out").field_path(".tls.hostPort"))]
pub struct Serving {
    /// A port of the node that leads to the replica on it, 1 to 65535: the shortest way on bare metal. Two mirrors on one node
    /// need different ports. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: Option<i32>,

    /// The Service that leads to all replicas. It has the name of the CacheMirror and port 80.
    #[serde(default)]
    pub service: Service,

    /// HTTPS, with HTTP/2, beside plain HTTP, which other mirrors and probes use. The Services get port 443 for it. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,

    /// What one client, and all of them together, may take of each replica.
    #[serde(default)]
    pub clients: Clients,
}

/// HTTPS.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// A Secret of type `kubernetes.io/tls` in the namespace of the CacheMirror, with the certificate (and those that lead to its root) in
    /// `tls.crt` and its key in `tls.key`, as cert-manager writes it. A good new pair is taken without a restart; while there is none, there
    /// is no HTTPS and the condition `CertificateUsable` says why.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new(rules::OBJECT_NAME).message(rules::OBJECT_NAME_MESSAGE))]
    pub secret_name: String,

    /// A port of the node that leads to HTTPS of the replica on it, 1 to 65535. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: Option<i32>,
}

/// Bounds on what clients take. The defaults are far above what honest ones do: a Nix opens 25 connections.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clients {
    /// NAR files on their way to one address at once, 1 to 65535; one more is answered 503 with `Retry-After`. Default: 2500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub connections_per_address: Option<i32>,

    /// Requests of one address in a second in the long run, 1 to 1000000. More wait their turn, and a flood is answered 429. Default: no
    /// bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub requests_per_second: Option<i32>,

    /// Connections of everybody at once, 64 to 65535. Default: 16384.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 64, max = 65535))]
    pub max_connections: Option<i32>,

    /// Addresses and networks of proxies, such as an ingress controller's, whose word in `X-Forwarded-For` is taken for the client's address.
    /// Default: none, and all clients of a proxy are one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(rules::NETWORKS).message(rules::NETWORKS_MESSAGE))]
    pub trusted_proxies: Vec<String>,
}

/// The Service that leads to all replicas.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// The Service's type, as in Kubernetes. Default: `ClusterIP`.
    #[serde(rename = "type", default)]
    pub type_: ServiceType,
}

/// The type of a Service.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ServiceType {
    /// Reached inside the cluster only.
    #[default]
    ClusterIP,
    /// Reached on a port of every node.
    NodePort,
    /// Reached through the cluster's load balancer.
    LoadBalancer,
}

/// What the mirror adds to the narinfos that it serves.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Publish {
    /// Who gets the `Mirrors:` line, which names the other mirrors of the same NAR. `Compatible`: only clients that are known to accept an
    /// unknown key (Nix, its forks, Granary), since some other tools refuse such a narinfo. Default: Compatible.
    #[serde(default)]
    pub narinfo: PublishNarinfo,
}

/// Who gets the `Mirrors:` line.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PublishNarinfo {
    /// Every client.
    Always,
    /// Clients that are known to accept it.
    #[default]
    Compatible,
    /// No client.
    Never,
}

// === impl ServiceType ===

impl ServiceType {
    /// The name that Kubernetes uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIP => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::LoadBalancer => "LoadBalancer",
        }
    }
}

// === impl PublishNarinfo ===

impl PublishNarinfo {
    /// The name that the mirror's configuration file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::Compatible => "Compatible",
            Self::Never => "Never",
        }
    }
}
