//! Whether the API knows our kinds yet. Installed after the operator, or not at all, they are no reason to exit: this replica
//! stays up, is not ready, and says what it waits for.

use std::{sync::Arc, time::Duration};

use granary_crds::{GROUP, VERSION};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder},
};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{config::Config, http::Readiness, metrics::Metrics};

/// The kinds that are needed, by their names in URLs.
const KINDS: [&str; 2] = ["cachemirrors", "replicationpolicies"];
/// Between two looks while something is missing, and while all is there.
const MISSING_INTERVAL: Duration = Duration::from_secs(3);
const PRESENT_INTERVAL: Duration = Duration::from_mins(1);

/// Looks for the definitions.
pub struct Definitions {
    /// The connection to the API server.
    pub client: Client,
    /// Publishes an event on the operator's own pod.
    pub recorder: Recorder,
    /// Which pod that is.
    pub config: Arc<Config>,
    /// Says which are missing.
    pub readiness: Arc<Readiness>,
    /// Says which are missing.
    pub metrics: Arc<Metrics>,
}

impl Definitions {
    /// Marks everything as waited for, until it has been seen.
    pub fn expect(&self) {
        for kind in KINDS {
            self.mark(kind, true);
        }
    }

    /// Looks again and again, for as long as it is polled, and tells `there` whether all are there.
    pub async fn watch(self, there: watch::Sender<bool>) {
        let mut told = false;
        loop {
            if let Some(missing) = self.missing().await {
                for kind in KINDS {
                    self.mark(kind, missing.contains(&kind));
                }
                there
                    .send_if_modified(|was| std::mem::replace(was, missing.is_empty()) != missing.is_empty());
                if !missing.is_empty() && !told {
                    self.tell(&missing).await;
                }
                if missing.is_empty() && told {
                    info!("all definitions are there");
                }
                told = !missing.is_empty();
            }
            tokio::time::sleep(if *there.borrow() { PRESENT_INTERVAL } else { MISSING_INTERVAL }).await;
        }
    }

    /// The missing kinds; `None` when the API server does not say. Discovery is open to every service account.
    async fn missing(&self) -> Option<Vec<&'static str>> {
        let known = match self.client.list_api_group_resources(&format!("{GROUP}/{VERSION}")).await {
            Ok(list) => list.resources.into_iter().map(|resource| resource.name).collect(),
            Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
            Err(error) => {
                warn!(%error, "the API server does not say which kinds it knows");
                return None;
            }
        };
        Some(KINDS.into_iter().filter(|kind| !known.iter().any(|name| name == kind)).collect())
    }

    fn mark(&self, kind: &str, missing: bool) {
        let name = format!("{kind}.{GROUP}");
        self.readiness.set(&format!("the definition {name}; install the chart granary-crds"), missing);
        self.metrics.crd_missing(&name, missing);
    }

    async fn tell(&self, missing: &[&str]) {
        let note =
            format!("not installed: {} of {GROUP}; install the chart granary-crds", missing.join(", "));
        warn!(note, "waiting for definitions");
        let pod = ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(self.config.pod_name.clone()),
            namespace: Some(self.config.pod_namespace.clone()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Warning,
            reason: "DefinitionsMissing".into(),
            note: Some(note),
            action: "Discover".into(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &pod).await {
            warn!(%error, "the event was not published");
        }
    }
}
