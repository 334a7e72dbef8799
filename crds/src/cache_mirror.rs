//! `CacheMirror`: where a mirror runs.

mod care;
mod extras;
mod proxy;
mod serving;
mod status;
mod storage;
mod upstream;

pub use care::{Push, Scrub, SecretKeyRef};
pub use extras::{Extras, Listings};
pub use proxy::Proxy;
pub use serving::{
    Clients, MAX_CLIENTS, MAX_RATE, MIN_CONNECTIONS, Publish, PublishNarinfo, Service, ServiceType, Serving,
    Tls,
};
pub use status::{CacheMirrorPhase, CacheMirrorStatus, MirrorStatus, ObservedState};
pub use storage::{Filesystem, PullThrough, Storage, VolumeClaim};
pub use upstream::{
    CaConfigMapRef, ContentAddressed, CredentialsFormat, CredentialsSecretRef, MAX_CONNECTIONS, Upstream,
};

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{rules, size::Size};

/// The largest number of replicas of one CacheMirror.
pub const MAX_REPLICAS: i32 = 16;
/// A longer name would make the names of pods and their labels too long for Kubernetes.
pub const MAX_NAME: usize = 40;

/// A place that holds artifacts: on which nodes, on which disks, pulled from which upstreams, served at which URL.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "granary.dev",
    version = "v1alpha1",
    kind = "CacheMirror",
    plural = "cachemirrors",
    shortname = "cmir",
    category = "granary",
    namespaced,
    status = "CacheMirrorStatus",
    derive = "PartialEq",
    doc = "A CacheMirror says where a mirror of Nix binary caches runs: on which nodes, on which disks, pulled from which upstreams, served at which URL. What it holds is said by ReplicationPolicies.",
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("the name becomes part of the names of Services: use at most 40 lower case letters, digits and '-', beginning with a letter"),
    validation = Rule::new("!self.metadata.name.matches('-[0-9]+$')").message("the name must not end in '-' and a number: replicas are named <name>-<number>, and the two could not be told apart; write for example north2 in place of north-2"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the mirror stands"),
    printcolumn(name = "Mirrors", type_ = "string", json_path = ".status.mirrorsReady", description = "Replicas that serve, of those wanted"),
    printcolumn(name = "Artifacts", type_ = "integer", json_path = ".status.artifacts", description = "Verified copies on all replicas"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.bytes", description = "Bytes of the NAR files on all replicas"),
    printcolumn(name = "Refused", type_ = "integer", json_path = ".status.refused", description = "Artifacts refused because a check failed"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url", description = "Where clients find it"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", description = "Why it is, or is not, ready", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.url) || self.replicas == 1 || self.url.contains('{ordinal}')").message("every replica needs a URL of its own: write {ordinal} in url, for example https://north-{ordinal}.example.org, or set replicas to 1").field_path(".url"))]
pub struct CacheMirrorSpec {
    /// The region that the mirror stands in. Copies are spread over regions when a policy asks for it. Default: the node's label
    /// `topology.kubernetes.io/region`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new(rules::DOMAIN).message(rules::DOMAIN_MESSAGE))]
    pub region: Option<String>,

    /// The zone that the mirror stands in: what fails together, for example one room with one power supply. Copies are always
    /// spread over as many zones as possible. Default: the node's label `topology.kubernetes.io/zone`; without either, every
    /// replica counts as a zone of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new(rules::DOMAIN).message(rules::DOMAIN_MESSAGE))]
    pub zone: Option<String>,

    /// The organization that runs the mirror: copies in one organization can fail together, by one mistake. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new(rules::DOMAIN).message(rules::DOMAIN_MESSAGE))]
    pub organization: Option<String>,

    /// Where clients reach the mirror; other mirrors name it in the `Mirrors:` lines of their narinfos. `http` or `https`, without a
    /// trailing slash. With more than one replica it must contain `{ordinal}`, which becomes the replica's number from 0. Default:
    /// none, and the mirror is not named to clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    #[x_kube(validation = Rule::new(rules::PUBLIC_URL).message(rules::PUBLIC_URL_MESSAGE))]
    pub url: Option<String>,

    /// The binary caches that the mirror pulls from, 1 to 16, each URL once.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["url".into()]))]
    pub upstreams: Vec<Upstream>,

    /// An HTTP proxy by which the upstreams, and the lists of channels, are asked for. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,

    /// How much of the network the mirror may use.
    #[serde(default)]
    pub bandwidth: Bandwidth,

    /// Also keeps what clients ask for, besides what policies want. Default: only what policies want is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_through: Option<PullThrough>,

    /// Who may bring artifacts with `nix copy --to`. Default: nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,

    /// How everything is read again, so that rot is found. Default: everything within 14 days, at no more than 20Mi a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub: Option<Scrub>,

    /// What is kept beside narinfos and NARs: listings, build logs, debug information, realisations. Default: all of it, as the upstreams
    /// have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extras: Option<Extras>,

    /// The disks that hold the artifacts.
    pub storage: Storage,

    /// The number of mirrors that this resource stands for, 1 to 16. Each replica is a mirror of its own, with its own disk and its
    /// own copies, on a node of its own. Lowering the number stops the last replicas; what lies on their disks stays there. Default: 1.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 16))]
    pub replicas: i32,

    /// The nodes that may run the replicas. Default: every node that is ready and has no taint against it.
    #[serde(default)]
    pub nodes: Nodes,

    /// How clients reach the replicas.
    #[serde(default)]
    pub serving: Serving,

    /// What the mirror adds to the narinfos that it serves.
    #[serde(default)]
    pub publish: Publish,

    /// Stops the operator from changing anything that belongs to this resource. The pods go on as they are. Default: false.
    #[serde(default)]
    pub suspend: bool,
}

/// How much of the network a mirror may use.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bandwidth {
    /// The most bytes a second that each replica pulls, from all its sources together, for example 50Mi. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull: Option<Size>,
}

/// The nodes that may run a mirror.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// Labels that a node must have, all of them. Default: none, so every node. With a host path, it is only asked when a replica gets its
    /// node: a replica stays where its disk is.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub selector: BTreeMap<String, String>,

    /// Taints that do not keep the replicas away, as in a pod. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub tolerations: Vec<Toleration>,
}

fn default_replicas() -> i32 {
    1
}
