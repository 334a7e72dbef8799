//! How a mirror is reached, and what it adds to what it serves.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How clients reach the replicas.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Serving {
    /// A port of the node that leads to the replica on it, 1 to 65535: the shortest way on bare metal. Two mirrors on one node
    /// need different ports. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub host_port: Option<i32>,

    /// The Service that leads to all replicas. It has the name of the CacheMirror and port 80.
    #[serde(default)]
    pub service: Service,
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
