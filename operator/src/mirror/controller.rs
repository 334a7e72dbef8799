//! Wiring: what wakes the controller, and what happens after a failure.

use std::{sync::Arc, time::Instant};

use futures::StreamExt;
use granary_crds::CacheMirror;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{
    Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::Action,
        reflector::{ObjectRef, Store},
        watcher::Config,
    },
};

use super::{
    apply::Memory,
    error::Error,
    names,
    reconcile::reconcile,
    stores::{self, Stores},
};
use crate::{context::Context, kube_ext::backoff::Backoff};

/// The name in metrics and logs.
const NAME: &str = "cachemirror";

/// A `CacheMirror` that may not parse: one bad object must not end the watch over all.
pub(super) type Guarded = DeserializeGuard<CacheMirror>;

/// What a reconcile is given.
pub(super) struct Shared {
    pub context: Arc<Context>,
    pub stores: Stores,
    pub memory: Memory,
    pub backoff: Backoff,
}

/// Runs the controller until it is dropped. Only the leader may run it.
pub async fn controller(context: Arc<Context>) {
    let client = &context.client;
    let namespace = context.config.watch_namespace.as_deref();
    let (stateful_sets, stateful_set_events) = stores::children(client, namespace);
    let (services, service_events) = stores::children(client, namespace);
    let (config_maps, config_map_events) = stores::children(client, namespace);
    let (network_policies, network_policy_events) = stores::children(client, namespace);
    let (disruption_budgets, disruption_budget_events) = stores::children(client, namespace);
    let (pods, pod_events) = stores::pods(client, namespace);
    let (nodes, node_events) = stores::nodes(client);
    let stores =
        Stores { stateful_sets, services, config_maps, network_policies, disruption_budgets, pods, nodes };
    let shared = Arc::new(Shared {
        context: context.clone(),
        stores,
        memory: Memory::default(),
        backoff: Backoff::default(),
    });

    let controller = Controller::new(mirrors(client, namespace), Config::default());
    let known = controller.store();
    let on_nodes = known.clone();
    controller
        .owns_stream(stateful_set_events)
        .owns_stream(service_events)
        .owns_stream(config_map_events)
        .owns_stream(network_policy_events)
        .owns_stream(disruption_budget_events)
        .watches_stream(pod_events, |pod| of_pod(&pod))
        .watches_stream(node_events, move |node| on_node(&on_nodes, &node))
        .reconcile_all_on(context.changes())
        .run(timed, failed, shared.clone())
        .for_each(|result| {
            forget_what_is_gone(&shared, &known);
            if let Err(kube::runtime::controller::Error::QueueError(error)) = &result {
                // A watch that broke; it is taken up again by itself.
                tracing::warn!(
                    controller = NAME,
                    error = super::error::chain(error),
                    "a watch was interrupted"
                );
                shared.context.metrics.error(NAME, "watch");
            }
            std::future::ready(())
        })
        .await;
}

fn mirrors(client: &Client, namespace: Option<&str>) -> kube::Api<Guarded> {
    stores::api(client, namespace)
}

/// The `CacheMirror` that a pod belongs to.
fn of_pod(pod: &Pod) -> Option<ObjectRef<Guarded>> {
    let name = pod.labels().get(names::INSTANCE)?;
    Some(ObjectRef::new(name).within(pod.metadata.namespace.as_deref()?))
}

/// The `CacheMirrors` that a node concerns: those with a replica on it, and those that wait for one.
fn on_node(known: &Store<Guarded>, node: &Node) -> Vec<ObjectRef<Guarded>> {
    let name = node.metadata.name.as_deref();
    let concerned = |object: &Arc<Guarded>| {
        let status = object.0.as_ref().ok().and_then(|mirror| mirror.status.as_ref());
        status.is_none_or(|status| {
            status.mirrors.iter().any(|mirror| mirror.node.is_none() || mirror.node.as_deref() == name)
        })
    };
    known
        .state()
        .iter()
        .filter(|object| concerned(object))
        .map(|object| ObjectRef::from_obj(object.as_ref()))
        .collect()
}

async fn timed(object: Arc<Guarded>, shared: Arc<Shared>) -> Result<Action, Error> {
    let started = Instant::now();
    let result = reconcile(&object, &shared).await;
    let told = result.as_ref().map(|_| ()).map_err(Error::metric_label);
    shared.context.metrics.reconciled(NAME, told, started.elapsed());
    if result.is_ok() {
        shared.backoff.succeeded(&key(&object));
    }
    result
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn failed(object: Arc<Guarded>, error: &Error, shared: Arc<Shared>) -> Action {
    let key = key(&object);
    tracing::warn!(controller = NAME, object = key, error = error.chain(), "a reconcile failed");
    if matches!(error, Error::Unreadable(_)) {
        return Action::await_change();
    }
    Action::requeue(shared.backoff.failed(&key, rand::random::<f64>()))
}

fn key(object: &Guarded) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn forget_what_is_gone(shared: &Shared, known: &Store<Guarded>) {
    let state = known.state();
    shared.backoff.retain(|forgotten| state.iter().any(|object| key(object) == forgotten));
    shared.memory.retain(|uid| state.iter().any(|object| object.meta().uid.as_deref() == Some(uid)));
}
