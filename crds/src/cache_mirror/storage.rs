//! Where a mirror's artifacts lie.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{rules, size::Size};

/// The disks that hold the artifacts.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// A directory tree that is a plain Nix binary cache. It cannot change once the mirror exists.
    #[x_kube(validation = Rule::new("self == oldSelf").message("the storage of a mirror cannot change, because its copies lie on it: make a second CacheMirror with the new storage, and delete this one when the new one is synced"))]
    pub filesystem: Filesystem,

    /// How much each replica is meant to hold. It is the replica's weight: a mirror with twice the capacity is given twice the
    /// artifacts. A size such as 500Gi; whole GiB count. It is not enforced as a limit. Default: 1Ti.
    #[serde(default = "default_capacity")]
    pub capacity: Size,

    /// Space that stays free on the disk: what would not leave so much is not taken in, while everything that is there is served on.
    /// Default: 1Gi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_free: Option<Size>,
}

/// Keeping what clients ask for.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullThrough {
    /// Whether it is done. Default: true.
    #[serde(default = "default_enabled")]
    pub enabled: bool,

    /// The most that each replica keeps of what only clients asked for, for example 200Gi. What was asked for least recently goes first.
    pub max_size: Size,
}

/// A file system on a node, or a volume that the cluster provides: exactly one of the two.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.hostPath) && has(self.volumeClaim))").message("two storages in one mirror: keep hostPath or volumeClaim and remove the other"))]
#[x_kube(validation = Rule::new("has(self.hostPath) || has(self.volumeClaim)").message("no storage: set hostPath (a directory on the node) or volumeClaim (with a size)"))]
pub struct Filesystem {
    /// An absolute directory on the node, for example `/srv/granary`. Each replica uses `<namespace>.<replica>` below it and is pinned to
    /// the node on which it first ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    #[x_kube(validation = Rule::new(rules::HOST_PATH).message(rules::HOST_PATH_MESSAGE))]
    pub host_path: Option<String>,

    /// A volume of its own for each replica, claimed from the cluster. It is kept when the CacheMirror is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_claim: Option<VolumeClaim>,
}

/// A claim for a volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeClaim {
    /// The storage class that provides the volume. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,

    /// The size of each replica's volume, for example 500Gi.
    pub size: Size,
}

fn default_enabled() -> bool {
    true
}

fn default_capacity() -> Size {
    Size::new("1Ti")
}
