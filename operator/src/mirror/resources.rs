//! The children of one `CacheMirror`.

use std::marker::PhantomData;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Service},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};

/// Built, not yet at the API server.
#[derive(Debug)]
pub enum Prepared {}

/// As the API server answered.
#[derive(Debug)]
pub enum Applied {}

/// All children. The stage makes sure that a status is only ever made from what was applied.
#[derive(Debug)]
pub struct Resources<Stage> {
    /// Each holder's configuration.
    pub config_maps: Vec<ConfigMap>,
    /// Each holder's address.
    pub holder_services: Vec<Service>,
    /// The address of all holders together.
    pub service: Service,
    /// What may reach the holders.
    pub network_policy: NetworkPolicy,
    /// How many holders may be taken down on purpose at a time.
    pub disruption_budget: PodDisruptionBudget,
    /// The holders.
    pub stateful_sets: Vec<StatefulSet>,
    /// Which stage this is.
    pub stage: PhantomData<Stage>,
}
