//! What the leader watches, kept in memory for the map, the poller and the policies.

use std::{fmt::Debug, future::Future, sync::Arc};

use futures::{StreamExt, TryStreamExt, future::join};
use granary_crds::{CacheMirror, ReplicationPolicy};
use k8s_openapi::{
    ClusterResourceScope, NamespaceResourceScope,
    api::core::v1::{Node, Pod},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{WatchStreamExt, reflector, reflector::Store, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tracing::warn;

use crate::context::Context;

/// Labels that every holder's pod has.
pub const HOLDERS: &str =
    "app.kubernetes.io/managed-by=granary-operator,app.kubernetes.io/name=granary-mirror";
/// The label that names the holder.
pub const HOLDER: &str = "granary.dev/mirror";

/// The watched objects. A user's objects are guarded: one that cannot be read does not stop the watch of the others.
pub struct Stores {
    /// `CacheMirror`s.
    pub cache_mirrors: Store<DeserializeGuard<CacheMirror>>,
    /// `ReplicationPolicy`s.
    pub policies: Store<DeserializeGuard<ReplicationPolicy>>,
    /// Nodes.
    pub nodes: Store<Node>,
    /// The holders' pods.
    pub pods: Store<Pod>,
    /// Rings after each change of any of them.
    pub changed: Arc<Notify>,
}

/// The stores are not filled, because their watches have ended.
#[derive(Debug, thiserror::Error)]
#[error("the watches have ended")]
pub struct Ended;

impl Stores {
    /// The stores, and the future that keeps them up to date for as long as it is polled.
    pub fn watch(context: &Context) -> (Self, impl Future<Output = ()> + Send + use<>) {
        let Context { client, config, .. } = context;
        let only = config.watch_namespace.as_deref();
        let changed = Arc::new(Notify::new());
        let all = watcher::Config::default;
        let (cache_mirrors, one) = follow(in_namespace(client, only), all(), &changed);
        let (policies, two) = follow(in_namespace(client, only), all(), &changed);
        let (nodes, three) = follow(cluster_wide(client), all(), &changed);
        let (pods, four) = follow(in_namespace(client, only), all().labels(HOLDERS), &changed);
        let run = async move {
            join(join(one, two), join(three, four)).await;
        };
        (Self { cache_mirrors, policies, nodes, pods, changed }, run)
    }

    /// Waits until each store has been filled once. Before that, an object that is not in a store may well exist.
    pub async fn ready(&self) -> Result<(), Ended> {
        let Self { cache_mirrors, policies, nodes, pods, changed: _ } = self;
        cache_mirrors.wait_until_ready().await.map_err(|_| Ended)?;
        policies.wait_until_ready().await.map_err(|_| Ended)?;
        nodes.wait_until_ready().await.map_err(|_| Ended)?;
        pods.wait_until_ready().await.map_err(|_| Ended)
    }
}

fn in_namespace<K>(client: &Client, only: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    only.map_or_else(|| Api::all(client.clone()), |only| Api::namespaced(client.clone(), only))
}

fn cluster_wide<K: Resource<DynamicType = (), Scope = ClusterResourceScope>>(client: &Client) -> Api<K> {
    Api::all(client.clone())
}

fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    changed: &Arc<Notify>,
) -> (Store<K>, impl Future<Output = ()> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changed = Arc::clone(changed);
    let events = watcher(api, config)
        .default_backoff()
        // Nothing here reads them, and they are half of what an object weighs.
        .modify(|object| object.managed_fields_mut().clear())
        .reflect(writer)
        .inspect_err(|error| warn!(kind = %<K as Resource>::kind(&()), %error, "watching"));
    let run = events.for_each(move |_| {
        changed.notify_one();
        std::future::ready(())
    });
    (store, run)
}
