//! The maps as the API server has them: every replica watches them, serves them over HTTP, and reads them here.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use granary_placement::{MapError, MirrorMap};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

/// One namespace's map as last seen.
#[derive(Debug)]
pub struct MapEntry {
    /// The text as stored; empty when the ConfigMap has no such key.
    pub text: String,
    /// What it says, or why it cannot be read.
    pub map: Result<Arc<MirrorMap>, MapError>,
    /// A strong validator for `text`, with its quotes: equal on all replicas, another for each text.
    pub etag: String,
    /// When this replica first saw this epoch.
    pub since: Instant,
}

impl MapEntry {
    fn read(config_map: &ConfigMap, before: Option<&Self>, now: Instant) -> Self {
        let text = config_map.data.as_ref().and_then(|data| data.get(super::KEY)).cloned().unwrap_or_default();
        let map = MirrorMap::from_json(text.as_bytes()).map(Arc::new);
        let epoch = |map: &Result<Arc<MirrorMap>, MapError>| map.as_ref().ok().map(|map| map.epoch);
        let since = before.filter(|before| epoch(&before.map) == epoch(&map)).map_or(now, |before| before.since);
        // The uid, because a ConfigMap made anew could in theory meet an old resource version with another text.
        let etag = format!(
            "\"{}.{}\"",
            config_map.metadata.uid.as_deref().unwrap_or_default(),
            config_map.metadata.resource_version.as_deref().unwrap_or_default()
        );
        Self { text, map, etag, since }
    }
}

/// All maps, by namespace.
#[derive(Debug)]
pub struct Maps {
    entries: RwLock<HashMap<String, Arc<MapEntry>>>,
    changed: watch::Sender<()>,
}

impl Default for Maps {
    fn default() -> Self {
        Self { entries: RwLock::default(), changed: watch::channel(()).0 }
    }
}

impl Maps {
    /// The map of a namespace; `None` when there is none, or none that can be read.
    #[must_use]
    pub fn get(&self, namespace: &str) -> Option<Arc<MirrorMap>> {
        self.entry(namespace)?.map.as_ref().ok().cloned()
    }

    /// What is stored for a namespace, readable or not.
    #[must_use]
    pub fn entry(&self, namespace: &str) -> Option<Arc<MapEntry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(namespace).cloned()
    }

    /// The namespaces that have a map.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Marks each change of any map.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Takes over a ConfigMap that was read, watched or written.
    pub fn put(&self, config_map: &ConfigMap, now: Instant) {
        let Some(namespace) = config_map.metadata.namespace.clone() else { return };
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let before = entries.get(&namespace);
        let entry = MapEntry::read(config_map, before.map(AsRef::as_ref), now);
        let news = before.is_none_or(|before| before.etag != entry.etag);
        entries.insert(namespace, Arc::new(entry));
        drop(entries);
        if news {
            self.changed.send_replace(());
        }
    }

    /// Forgets the maps of all namespaces but these.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let before = entries.len();
        entries.retain(|namespace, _| keep(namespace));
        let news = entries.len() != before;
        drop(entries);
        if news {
            self.changed.send_replace(());
        }
    }
}
