//! The control plane: reconciles `CacheMirror` and `ReplicationPolicy`, and writes the mirror map.
//!
//! Every replica serves health, metrics and the map; only the leader writes to the Kubernetes API.
//!
//! # What it may do in a cluster, and why
//!
//! Cluster-wide (or in the one watched namespace, but `nodes` always cluster-wide):
//!
//! | group | resources | verbs | why |
//! | --- | --- | --- | --- |
//! | granary.dev | cachemirrors, replicationpolicies | get, list, watch | what users ask for |
//! | granary.dev | cachemirrors/status, replicationpolicies/status | get, patch | to tell how it stands |
//! | granary.dev | cachemirrors/finalizers | update | children block their owner's deletion (needed with `OwnerReferencesPermissionEnforcement`) |
//! | apps | statefulsets | get, list, watch, create, patch, delete | one per holder; delete for scaling down |
//! | "" | services | get, list, watch, create, patch, delete | one per holder and one per `CacheMirror` |
//! | "" | configmaps | get, list, watch, create, update, patch, delete | holders' configuration (patch, delete), and the mirror map, which is *replaced* under its resource version (update) |
//! | policy | poddisruptionbudgets | get, list, watch, create, patch, delete | one per `CacheMirror` |
//! | networking.k8s.io | networkpolicies | get, list, watch, create, patch, delete | one per `CacheMirror` |
//! | "" | pods | get, list, watch | holders are asked for their reports by pod address |
//! | "" | nodes | get, list, watch | topology labels, and where a host path can be pinned |
//! | events.k8s.io | events | create, patch | to tell what changed (for objects without a namespace: in `default`) |
//!
//! In its own namespace only:
//!
//! | group | resources | verbs | why |
//! | --- | --- | --- | --- |
//! | coordination.k8s.io | leases | get, create, update | leader election; it never deletes and never patches a lease |
//!
//! API discovery (is a CRD there yet?) needs no rule: `system:discovery` allows it to every service account.
#![forbid(unsafe_code)]

pub mod config;
pub mod context;
pub mod definitions;
pub mod election;
pub mod http;
pub mod kube_ext;
pub mod map;
pub mod metrics;
pub mod mirror;
pub mod policy;
pub mod poll;
pub mod reports;
pub mod run;
pub mod stores;
