//! The API types of `granary.dev/v1alpha1`, and the YAML generated from them.
//!
//! Only types live here: nothing in this crate needs a Kubernetes client, so that tools can read and write the resources
//! without one. Every rule that can be checked by the API server is a CEL rule beside its field; the operator checks the
//! same things again, because an object may have been stored before its rule existed.

#![forbid(unsafe_code)]

pub mod cache_mirror;
mod condition;
mod duration;
pub mod replication_policy;
mod rules;
mod size;
pub mod yaml;

pub use cache_mirror::{CacheMirror, CacheMirrorSpec, CacheMirrorStatus};
pub use condition::{Condition, find_condition, set_condition};
pub use duration::{Duration, InvalidDuration};
pub use replication_policy::{ReplicationPolicy, ReplicationPolicySpec, ReplicationPolicyStatus};
pub use rules::{
    is_host, is_host_path, is_object_name, is_proxy_except, is_proxy_url, is_public_key, is_public_url,
    is_secret_key, is_store_path, is_upstream_url,
};
pub use size::{InvalidSize, Size};

/// The API group of every kind here.
pub const GROUP: &str = "granary.dev";
/// The only served version.
pub const VERSION: &str = "v1alpha1";
