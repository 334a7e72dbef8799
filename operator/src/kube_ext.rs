//! Small helpers around Kubernetes' own types, shared by the controllers.

pub mod backoff;
pub mod events;
pub mod hash;
pub mod nodes;
pub mod pods;
