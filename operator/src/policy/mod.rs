//! The `ReplicationPolicy` controller: reads what is known, computes the status, writes it when it differs. What a policy asks
//! for is put into the mirror map by [`crate::map`]; nothing else is built for one.

mod conditions;
mod count;
mod dereference;
mod status;
mod write;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::StreamExt;
use granary_crds::ReplicationPolicy;
use granary_placement::Shortfall;
use kube::{
    Api, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        controller::{self, Action, Controller},
        watcher,
    },
};
use tracing::{debug, warn};

use crate::{context::Context, kube_ext::backoff::Backoff};

const CONTROLLER: &str = "policy";

/// Why a policy's status was not brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The object cannot be read; only a change of it can help.
    #[error("the ReplicationPolicy cannot be read: {0}")]
    Invalid(String),
    /// The status was not written.
    #[error("the status cannot be written: {0}")]
    Status(#[source] Box<kube::Error>),
}

impl Error {
    fn metric_label(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Status(_) => "status",
        }
    }
}

/// What the controller keeps between reconciles.
struct Policies {
    context: Arc<Context>,
    backoff: Backoff,
    shortfalls: dereference::Shortfalls,
    /// The generations of unreadable objects that have been told about.
    told: Mutex<HashMap<String, i64>>,
}

/// Keeps the status of all policies up to date, for as long as it is polled.
pub async fn controller(context: Arc<Context>) {
    let api: Api<DeserializeGuard<ReplicationPolicy>> = match &context.config.watch_namespace {
        Some(namespace) => Api::namespaced(context.client.clone(), namespace),
        None => Api::all(context.client.clone()),
    };
    let changes = context.changes();
    let policies = Arc::new(Policies {
        context,
        backoff: Backoff::default(),
        shortfalls: dereference::Shortfalls::default(),
        told: Mutex::default(),
    });
    Controller::new(api, watcher::Config::default())
        // Several changes of a map or of reports within this time are one reason to look.
        .with_config(controller::Config::default().debounce(Duration::from_millis(200)).concurrency(8))
        .reconcile_all_on(changes)
        .run(reconcile, error_policy, Arc::clone(&policies))
        .for_each(|result| {
            policies.ended(result.map(drop));
            std::future::ready(())
        })
        .await;
}

fn key(object: &DeserializeGuard<ReplicationPolicy>) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

async fn reconcile(
    object: Arc<DeserializeGuard<ReplicationPolicy>>,
    policies: Arc<Policies>,
) -> Result<Action, Error> {
    let begun = Instant::now();
    let outcome = policies.reconcile(&object).await;
    let label = outcome.as_ref().map(drop).map_err(Error::metric_label);
    policies.context.metrics.reconciled(CONTROLLER, label, begun.elapsed());
    outcome?;
    policies.backoff.succeeded(&key(&object));
    // Reports and maps wake it; there is nothing to wait for by the clock.
    Ok(Action::await_change())
}

// The controller's signature asks for values.
#[allow(clippy::needless_pass_by_value)]
fn error_policy(
    object: Arc<DeserializeGuard<ReplicationPolicy>>,
    error: &Error,
    policies: Arc<Policies>,
) -> Action {
    match error {
        Error::Invalid(_) => Action::await_change(),
        Error::Status(_) => Action::requeue(policies.backoff.failed(&key(&object), rand::random())),
    }
}

impl Policies {
    async fn reconcile(&self, object: &DeserializeGuard<ReplicationPolicy>) -> Result<(), Error> {
        let policy = match &object.0 {
            Ok(policy) => policy,
            Err(error) => return self.unreadable(object, &error.error).await,
        };
        if policy.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let facts = dereference::dereference(&self.context, &self.shortfalls, policy);
        let status = status::status(policy, &facts, jiff::Timestamp::now());
        self.context.metrics.policy(
            &policy.namespace().unwrap_or_default(),
            &policy.name_any(),
            Some(status::numbers(&status)),
        );
        write::write(&self.context, policy, status).await.map_err(|error| Error::Status(Box::new(error)))
    }

    /// An object that cannot be read is told about once for each of its versions.
    async fn unreadable(&self, object: &DeserializeGuard<ReplicationPolicy>, why: &str) -> Result<(), Error> {
        // By generation, because telling changes the resource version.
        let generation = object.meta().generation.unwrap_or_default();
        let before = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(key(object), generation);
        if before == Some(generation) {
            return Ok(());
        }
        write::unreadable(&self.context, object, why).await;
        Err(Error::Invalid(why.to_owned()))
    }

    fn ended(&self, result: Result<(), controller::Error<Error, watcher::Error>>) {
        match result {
            Ok(()) => {}
            Err(controller::Error::ObjectNotFound(gone)) => {
                let namespace = gone.namespace.clone().unwrap_or_default();
                debug!(namespace, name = gone.name, "the policy is gone");
                let key = format!("{namespace}/{}", gone.name);
                self.backoff.succeeded(&key);
                self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
                self.context.metrics.policy(&namespace, &gone.name, None);
            }
            Err(error) => warn!(%error, "policy"),
        }
    }
}

/// The reasons for which a policy cannot be placed in full.
type Reasons = Vec<Shortfall>;
