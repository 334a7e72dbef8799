//! What the operator has seen of a mirror.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator has seen of the mirror.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CacheMirrorStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Where the mirror stands, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<CacheMirrorPhase>,

    /// What holds and what does not, with reasons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The lowest epoch of the mirror map that a replica which answers works with; 0 before the first.
    #[serde(default)]
    pub epoch: i64,

    /// Replicas that serve, of those wanted, for example 2/3.
    #[serde(default)]
    pub mirrors_ready: String,

    /// Verified copies on all replicas.
    #[serde(default)]
    pub artifacts: i64,

    /// Bytes of the NAR files on all replicas.
    #[serde(default)]
    pub bytes: i64,

    /// Artifacts that replicas refused because a check failed.
    #[serde(default)]
    pub refused: i64,

    /// Each replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub mirrors: Vec<MirrorStatus>,
}

/// Where a mirror stands.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CacheMirrorPhase {
    /// It does not serve yet: something is missing, or it is starting.
    Pending,
    /// It serves, and copies what it is assigned.
    Syncing,
    /// Every replica serves and has what it is assigned.
    Ready,
    /// A replica is unreachable, lost its disk, refused artifacts, or the spec cannot be carried out.
    Degraded,
    /// The operator leaves it as it is, as asked by `spec.suspend`.
    Suspended,
}

/// One replica.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorStatus {
    /// The replica's name, `<CacheMirror>-<number>`; the mirror map and the pods' labels use it.
    pub name: String,

    /// The node that it runs on; with a host path it stays there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,

    /// Its zone, from the spec or the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,

    /// Its region, from the spec or the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,

    /// The id of its disk: the mirror made it once and keeps it beside the artifacts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,

    /// Whether it serves.
    #[serde(default)]
    pub state: ObservedState,

    /// Verified copies on it.
    #[serde(default)]
    pub artifacts: i64,

    /// Bytes of the NAR files on it.
    #[serde(default)]
    pub bytes: i64,

    /// Artifacts that it refused because a check failed.
    #[serde(default)]
    pub refused: i64,

    /// When it last finished verifying what it is assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,

    /// The epoch of the mirror map that it works with; 0 before the first.
    #[serde(default)]
    pub epoch: i64,

    /// What is wrong, or being waited for; absent when all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Whether a replica serves.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObservedState {
    /// It has not answered yet, or does not yet hold what it is assigned.
    #[default]
    Joining,
    /// It answers, and clients are sent to it.
    Serving,
    /// It answered once, and no longer does.
    Unreachable,
}
