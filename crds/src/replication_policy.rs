//! `ReplicationPolicy`: what must be kept, and how safely.

mod status;

pub use status::{ReplicationPolicyPhase, ReplicationPolicyStatus};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration::Duration;
use crate::rules;

/// The largest number of copies that a policy may ask for.
pub const MAX_TARGET: i32 = 8;

/// What must be kept, on how many mirrors, spread over what.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "granary.dev",
    version = "v1alpha1",
    kind = "ReplicationPolicy",
    plural = "replicationpolicies",
    shortname = "rpol",
    category = "granary",
    namespaced,
    status = "ReplicationPolicyStatus",
    derive = "PartialEq",
    doc = "A ReplicationPolicy says which store paths must be kept, on how many of the selected CacheMirrors, and spread over what.",
    validation = Rule::new("size(self.metadata.name) <= 63").message("the name is too long: use at most 63 characters"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Where the policy stands"),
    printcolumn(name = "Artifacts", type_ = "integer", json_path = ".status.artifacts", description = "Store paths wanted: the closure"),
    printcolumn(name = "Copies", type_ = "integer", json_path = ".status.copiesTotal", description = "Verified copies there are"),
    printcolumn(name = "Wanted", type_ = "integer", json_path = ".status.copiesWanted", description = "Copies that there should be"),
    printcolumn(name = "Below-Target", type_ = "integer", json_path = ".status.belowTarget", description = "Store paths with too few copies, at most"),
    printcolumn(name = "Bytes", type_ = "integer", json_path = ".status.bytes", description = "Bytes of the verified copies"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Satisfied\")].message", description = "What is missing", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.spread) || self.spread.all(s, s.min <= self.copies.target)").message("a spread over more domains than there are copies cannot be: lower spread[].min or raise copies.target").field_path(".spread"))]
pub struct ReplicationPolicySpec {
    /// The mirrors in this namespace that may hold the artifacts, by their labels. `{}` selects all of them.
    pub mirrors: LabelSelector,

    /// What must be kept.
    pub artifacts: Artifacts,

    /// How many copies.
    pub copies: Copies,

    /// Over what the copies must be spread, each key once. Default: nothing is demanded, but copies go to different zones as far as there
    /// are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 3))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["topologyKey".into()]))]
    pub spread: Vec<Spread>,

    /// How long artifacts stay on a mirror that no policy wants any more, such as those of a channel's revision that is kept no
    /// longer. A mirror goes by the longest periods of the policies that select it. Absent: nothing is ever removed from the
    /// mirrors that this policy selects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,

    /// Leaves the copies as they are: nothing new is copied for this policy, nothing is removed. Default: false.
    #[serde(default)]
    pub suspend: bool,
}

/// What must be kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.storePaths) || has(self.channels)").message("nothing is asked for: name storePaths, channels or both"))]
pub struct Artifacts {
    /// Store paths, 1 to 1000, each once: `/nix/store/<hash>-<name>`. Everything that they refer to is kept as well: the closure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 1000), inner(length(max = 255)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    #[x_kube(validation = Rule::new(rules::STORE_PATHS).message(rules::STORE_PATHS_MESSAGE))]
    pub store_paths: Vec<String>,

    /// Channels, 1 to 50, each URL once. Everything that their newest revisions list is kept, with its closure.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 50))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["url".into()]))]
    pub channels: Vec<Channel>,
}

/// A channel whose revisions are kept.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// The channel's URL, for example `https://channels.nixos.org/nixos-26.05`: `<url>/store-paths.xz` lists the store paths
    /// of its newest revision. The last part is the channel's name.
    #[schemars(length(max = 400))]
    #[x_kube(validation = Rule::new(rules::CHANNEL_URL).message(rules::CHANNEL_URL_MESSAGE))]
    pub url: String,

    /// How many complete revisions are kept, the newest first, 1 to 100. An older one stays until enough newer ones are complete.
    /// Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub keep: i32,
}

fn one() -> i32 {
    1
}

/// How long artifacts stay that no policy wants any more. Nothing that a policy wants is ever removed.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Published, after the last policy stopped wanting them: a whole number and a unit, for example `14d`.
    pub grace_after_unreferenced: Duration,

    /// Their NAR files in the trash after that, from where they come back without a download should a policy want them again,
    /// for example `7d`. The narinfos stay there for 30 days, so that a client that remembers one still gets its NAR, fetched anew.
    pub trash: Duration,
}

/// How many copies.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copies {
    /// The number of mirrors that shall hold each artifact, 1 to 8.
    #[schemars(range(min = 1, max = 8))]
    pub target: i32,
}

/// A spread over failure domains.
#[derive(KubeSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// What to count: the mirrors' zones, regions or organizations.
    pub topology_key: TopologyKey,

    /// The copies of each artifact must lie in at least so many different ones, 1 to 8; at most `copies.target`.
    #[schemars(range(min = 1, max = 8))]
    pub min: i32,
}

/// A kind of failure domain.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopologyKey {
    /// `spec.zone` of the CacheMirror, or the node's zone.
    Zone,
    /// `spec.region` of the CacheMirror, or the node's region.
    Region,
    /// `spec.organization` of the CacheMirror.
    Organization,
}
