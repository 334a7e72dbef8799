//! What is watched: one reflector for each kind, which both fills a store and wakes the controller. No predicate filters these streams:
//! one by generation would swallow the deletion of a child (kube-rs/kube#1768).

use std::{fmt::Debug, hash::Hash};

use futures::{FutureExt, Stream};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        core::v1::{ConfigMap, Node, Pod, Service},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher::{Config, Error, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::names;

/// A store of the metadata of one kind: enough to see what there is and whether it was changed.
pub(super) type Metadata<K> = Store<PartialObjectMeta<K>>;

/// Everything that the controller sees of the cluster.
#[derive(Clone)]
pub(super) struct Stores {
    pub stateful_sets: Metadata<StatefulSet>,
    pub services: Metadata<Service>,
    pub config_maps: Metadata<ConfigMap>,
    pub network_policies: Metadata<NetworkPolicy>,
    pub disruption_budgets: Metadata<PodDisruptionBudget>,
    pub pods: Store<Pod>,
    pub nodes: Store<Node>,
}

// === impl Stores ===

impl Stores {
    /// Whether every store has been filled once. Before that, what is missing in a store may well exist.
    pub(super) fn are_ready(&self) -> bool {
        let Self { stateful_sets, services, config_maps, network_policies, disruption_budgets, pods, nodes } =
            self;
        is_ready(stateful_sets)
            && is_ready(services)
            && is_ready(config_maps)
            && is_ready(network_policies)
            && is_ready(disruption_budgets)
            && is_ready(pods)
            && is_ready(nodes)
    }
}

fn is_ready<K>(store: &Store<K>) -> bool
where
    K: Resource + Clone + 'static,
    K::DynamicType: Eq + Hash + Clone,
{
    store.wait_until_ready().now_or_never().is_some_and(|ready| ready.is_ok())
}

/// The API for a kind in the watched namespace, or in all.
pub(super) fn api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// Watches the metadata of the children of one kind.
pub(super) fn children<K>(
    client: &Client,
    namespace: Option<&str>,
) -> (Metadata<K>, impl Stream<Item = Result<PartialObjectMeta<K>, Error>> + Send + use<K>)
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (store, writer) = reflector::store();
    let events = watcher(
        api::<PartialObjectMeta<K>>(client, namespace),
        Config::default().labels(names::ALL_CHILDREN),
    );
    let events = events.modify(|object| object.metadata.managed_fields = None);
    (store, reflector::reflector(writer, events).default_backoff().touched_objects())
}

/// Watches the holders' pods.
pub(super) fn pods(
    client: &Client,
    namespace: Option<&str>,
) -> (Store<Pod>, impl Stream<Item = Result<Pod, Error>> + Send + use<>) {
    let (store, writer) = reflector::store();
    let events = watcher(api::<Pod>(client, namespace), Config::default().labels(names::ALL_CHILDREN));
    let events = events.modify(|pod| pod.metadata.managed_fields = None);
    (store, reflector::reflector(writer, events).default_backoff().touched_objects())
}

/// Watches the nodes.
pub(super) fn nodes(
    client: &Client,
) -> (Store<Node>, impl Stream<Item = Result<Node, Error>> + Send + use<>) {
    let (store, writer) = reflector::store();
    let events = watcher(Api::<Node>::all(client.clone()), Config::default()).modify(|node| {
        node.metadata.managed_fields = None;
        // Long, changed often, and of no use here.
        if let Some(status) = &mut node.status {
            status.images = None;
        }
    });
    (store, reflector::reflector(writer, events).default_backoff().touched_objects())
}
