//! The maps as the API server has them: every replica watches them, serves them over HTTP, and reads them here.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Instant,
};

use granary_placement::{MapError, MirrorMap};
use k8s_openapi::api::core::v1::ConfigMap;
use tokio::sync::watch;

use super::note::Note;

/// One namespace's map as last seen.
#[derive(Debug)]
pub struct MapEntry {
    /// The text as stored; empty when the ConfigMap has no such key.
    pub text: String,
    /// What it says, or why it cannot be read.
    pub map: Result<Arc<MirrorMap>, MapError>,
    /// A strong validator for `text`, with its quotes: equal on all replicas, another for each text.
    pub etag: String,
    /// Since which epoch the placement, and what is placed, is as it is now, as far as this replica has seen. A report that
    /// goes by an older epoch may be about another placement.
    pub placement_epoch: u64,
    /// When this replica first saw a map with this placement.
    pub since: Instant,
}

impl MapEntry {
    fn read(config_map: &ConfigMap, before: Option<&Self>, now: Instant) -> Self {
        let text =
            config_map.data.as_ref().and_then(|data| data.get(super::KEY)).cloned().unwrap_or_default();
        let map = MirrorMap::from_json(text.as_bytes()).map(Arc::new);
        let same = before.filter(|before| match (&before.map, &map) {
            (Ok(before), Ok(map)) => {
                before.epoch <= map.epoch
                    && before.table_hash == map.table_hash
                    && before.policies == map.policies
            }
            _ => false,
        });
        let epoch = map.as_ref().map_or(0, |map| map.epoch);
        let (placement_epoch, since) = same.map_or((epoch, now), |same| (same.placement_epoch, same.since));
        // The uid, because a ConfigMap made anew could in theory meet an old resource version with another text.
        let etag = format!(
            "\"{}.{}\"",
            config_map.metadata.uid.as_deref().unwrap_or_default(),
            config_map.metadata.resource_version.as_deref().unwrap_or_default()
        );
        Self { text, map, etag, placement_epoch, since }
    }
}

/// All maps, by namespace.
#[derive(Debug)]
pub struct Maps {
    entries: RwLock<HashMap<String, Arc<MapEntry>>>,
    notes: RwLock<HashMap<String, Vec<Note>>>,
    changed: watch::Sender<()>,
}

impl Default for Maps {
    fn default() -> Self {
        Self { entries: RwLock::default(), notes: RwLock::default(), changed: watch::channel(()).0 }
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

    /// What there is to tell about the holders of a `CacheMirror`. Known only while this replica leads.
    #[must_use]
    pub fn notes(&self, namespace: &str, cache_mirror: &str) -> Vec<Note> {
        let notes = self.notes.read().unwrap_or_else(PoisonError::into_inner);
        let of_namespace = notes.get(namespace).map(Vec::as_slice).unwrap_or_default().iter();
        let ours = |note: &&Note| note.holder.holder().is_some_and(|(owner, _)| owner == cache_mirror);
        of_namespace.filter(ours).cloned().collect()
    }

    /// Replaces what there is to tell in a namespace. Returns what is new.
    pub fn tell(&self, namespace: &str, told: Vec<Note>) -> Vec<Note> {
        let mut notes = self.notes.write().unwrap_or_else(PoisonError::into_inner);
        let before = notes.insert(namespace.to_owned(), told.clone()).unwrap_or_default();
        drop(notes);
        if before != told {
            self.changed.send_replace(());
        }
        told.into_iter().filter(|note| !before.contains(note)).collect()
    }

    /// Marks each change of any map or note.
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
