//! What the operator has seen of a policy.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator has seen of the policy.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicationPolicyStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Where the policy stands, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<ReplicationPolicyPhase>,

    /// What holds and what does not, with reasons: `Accepted` (it can be placed in full), `CatalogResolved` (the closure is known),
    /// `Satisfied` (every copy is there).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Store paths in the closure; 0 before it is known.
    #[serde(default)]
    pub artifacts: i64,

    /// Copies that there should be, over all mirrors.
    #[serde(default)]
    pub copies_wanted: i64,

    /// Verified copies that there are, over all mirrors that answer.
    #[serde(default)]
    pub copies_total: i64,

    /// Store paths with fewer copies than wanted, at most: the copies that are missing, but not more than there are store paths.
    #[serde(default)]
    pub below_target: i64,

    /// Copies that a mirror refused because a check failed.
    #[serde(default)]
    pub refused: i64,

    /// Bytes of the NAR files of the verified copies.
    #[serde(default)]
    pub bytes: i64,

    /// The epoch of the mirror map that these figures are about; 0 before the first.
    #[serde(default)]
    pub epoch: i64,
}

/// Where a policy stands.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplicationPolicyPhase {
    /// Nothing is known yet, or the closure is still being resolved.
    Pending,
    /// Copies are being made.
    Syncing,
    /// Every copy is there and verified.
    Satisfied,
    /// It cannot be carried out in full: too few mirrors or domains, refused artifacts, or mirrors that do not answer.
    Degraded,
    /// Nothing is done for it, as asked by `spec.suspend`.
    Suspended,
}
