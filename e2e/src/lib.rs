//! A real Kubernetes cluster inside Linux namespaces, the faults to hurt it with, and what a test needs around it.
//!
//! [`namespace::enter`] puts the process into namespaces that die with it, [`cluster::Cluster::start`] builds the
//! cluster there, and everything else is what tests and the demo do with one: [`upstream`] serves a binary cache,
//! [`nix_client`] substitutes from one, [`wait`] waits for a condition and says what it was when it does not come.

pub mod cluster;
pub mod filters;
pub mod namespace;
pub mod nix_client;
pub mod paths;
pub mod upstream;
pub mod wait;
