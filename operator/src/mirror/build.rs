//! Step 3, pure: the objects that a mirror consists of. One kind of object in each file.

mod config_map;
mod network_policy;
mod pod;
mod pod_disruption_budget;
mod service;
mod stateful_set;

use std::marker::PhantomData;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    names::{self, Labels},
    resources::{Prepared, Resources},
    validate::{Holder, Place, ValidatedMirror},
};

/// The pod's port for clients.
const HTTP_PORT: i32 = 8080;
/// The pod's port for clients that speak TLS.
const HTTPS_PORT: i32 = 8443;
/// The pod's port for the operator and other mirrors.
const AGENT_PORT: i32 = 8081;
/// Where a Service answers clients and other mirrors.
const SERVICE_PORT: i32 = 80;
/// Where a Service answers clients that speak TLS.
const SECURE_SERVICE_PORT: i32 = 443;

/// What the operator adds to every mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The image of the holders.
    pub image: String,
    /// Where holders fetch the mirror map, without the namespace.
    pub map_url: String,
}

/// Why objects could not be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration of a holder could not be written.
    #[error("failed to render the configuration of {holder}")]
    Config {
        /// The holder.
        holder: String,
        /// Why not.
        source: serde_json::Error,
    },
}

/// Builds everything. A holder without a place gets no StatefulSet yet; the rest does not wait for it.
pub fn build(mirror: &ValidatedMirror, settings: &Settings) -> Result<Resources<Prepared>, Error> {
    let mut config_maps = Vec::new();
    let mut stateful_sets = Vec::new();
    for holder in &mirror.holders {
        let (config_map, config_hash) = config_map::build(mirror, holder, settings)
            .map_err(|source| Error::Config { holder: holder.name.to_string(), source })?;
        config_maps.push(config_map);
        if holder.place != Place::Waiting {
            stateful_sets.push(stateful_set::build(mirror, holder, settings, &config_hash));
        }
    }
    Ok(Resources {
        config_maps,
        holder_services: mirror.holders.iter().map(|holder| service::of_holder(mirror, holder)).collect(),
        service: service::of_all(mirror),
        network_policy: network_policy::build(mirror),
        disruption_budget: pod_disruption_budget::build(mirror),
        stateful_sets,
        stage: PhantomData,
    })
}

fn metadata(mirror: &ValidatedMirror, name: &str, labels: Labels) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(mirror.namespace.clone()),
        labels: Some(labels),
        owner_references: Some(vec![mirror.owner.clone()]),
        ..ObjectMeta::default()
    }
}

fn of_holder(mirror: &ValidatedMirror, holder: &Holder) -> ObjectMeta {
    metadata(mirror, holder.name.as_str(), names::of_holder(&mirror.name, &holder.name))
}

fn of_mirror(mirror: &ValidatedMirror) -> ObjectMeta {
    metadata(mirror, &mirror.name, names::common(&mirror.name))
}

#[cfg(test)]
mod tests {
    use kube::{Resource, ResourceExt};

    use super::*;
    use crate::mirror::{
        fixtures::{map, mirror, with},
        validate::validate,
    };

    /// What the real steps make of the fixture with a change.
    pub(super) fn built(change: &str) -> Resources<Prepared> {
        let valid = validate(&with(&mirror(), change), Some(&map())).unwrap();
        let settings =
            Settings { image: "images.example/mirror:7".into(), map_url: "http://maps.example:8080".into() };
        build(&valid, &settings).unwrap()
    }

    /// Kind and name of everything, with the checks that hold for all of it.
    fn inventory(resources: &Resources<Prepared>) -> Vec<String> {
        fn list<K: Resource<DynamicType = ()>>(objects: &[K], all: &mut Vec<String>) {
            for object in objects {
                assert_eq!(object.namespace().as_deref(), Some("site"));
                assert_eq!(object.labels()[names::INSTANCE], "blue");
                let owner = &object.owner_references()[0];
                assert_eq!(
                    (owner.kind.as_str(), owner.uid.as_str(), owner.controller),
                    ("CacheMirror", "0f0f", Some(true))
                );
                all.push(format!("{} {}", K::kind(&()), object.name_any()));
            }
        }
        let Resources {
            config_maps,
            holder_services,
            service,
            network_policy,
            disruption_budget,
            stateful_sets,
            stage: _,
        } = resources;
        let mut all = Vec::new();
        list(config_maps, &mut all);
        list(holder_services, &mut all);
        list(std::slice::from_ref(service), &mut all);
        list(std::slice::from_ref(network_policy), &mut all);
        list(std::slice::from_ref(disruption_budget), &mut all);
        list(stateful_sets, &mut all);
        all
    }

    #[test]
    fn the_names_of_everything() {
        let mut expected = vec![
            "ConfigMap blue-0",
            "ConfigMap blue-1",
            "Service blue-0",
            "Service blue-1",
            "Service blue",
            "NetworkPolicy blue",
            "PodDisruptionBudget blue",
            "StatefulSet blue-0",
        ];
        // blue-1 has no node in the map: no StatefulSet for it yet.
        assert_eq!(inventory(&built("{}")), expected);
        expected.push("StatefulSet blue-1");
        let on_volumes = built("{storage: {filesystem: {hostPath: null, volumeClaim: {size: 5Gi}}}}");
        assert_eq!(inventory(&on_volumes), expected);
    }
}
