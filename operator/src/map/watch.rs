//! Keeps [`Maps`] as the API server has them. Every replica does, since every replica serves them.

use std::{collections::HashSet, sync::Arc, time::Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use tracing::warn;

use super::{CONFIG_MAP, Maps};

/// Watches the maps for as long as it is polled; `ready` is called when all have been seen once.
pub async fn watch(client: Client, only: Option<&str>, maps: Arc<Maps>, ready: impl Fn() + Send) {
    let api: Api<ConfigMap> = match only {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let by_name = watcher::Config::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let mut events = watcher(api, by_name).default_backoff().boxed();
    let mut listed = HashSet::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(config_map)) => {
                listed.extend(config_map.namespace());
                maps.put(&config_map, Instant::now());
            }
            Ok(Event::InitDone) => {
                maps.retain(|namespace| listed.contains(namespace));
                ready();
            }
            Ok(Event::Apply(config_map)) => maps.put(&config_map, Instant::now()),
            Ok(Event::Delete(config_map)) => {
                let gone = config_map.namespace();
                maps.retain(|namespace| gone.as_deref() != Some(namespace));
            }
            Err(error) => warn!(%error, "watching the mirror maps"),
        }
    }
}
