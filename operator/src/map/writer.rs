//! The one writer of the maps: computes what each namespace's map should say, and replaces the stored one when that differs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use granary_crds::{CacheMirror, ReplicationPolicy};
use granary_placement::{CompiledMap, MirrorMap};
use kube::{ResourceExt, core::DeserializeGuard};
use tracing::{debug, info, warn};

use super::{
    MapEntry,
    desired::{Desired, Inputs, desired},
    next,
    note::{Note, Trouble},
    recover,
    stored::{self, WriteError},
    tell,
};
use crate::{context::Context, kube_ext::backoff::Backoff, stores::Stores};

const CONTROLLER: &str = "map";
/// Time passes without an event when a holder falls silent, so each map is looked at this often at least.
const BEAT: Duration = Duration::from_secs(2);
/// Between two rounds, so that a burst of changes makes one epoch.
const PAUSE: Duration = Duration::from_millis(300);
/// A lost map is put together again only after the holders had this long to tell which epoch they have seen.
const ASKED_FOR: Duration = Duration::from_secs(10);

/// What the leader remembers between rounds.
pub struct Writer {
    context: Arc<Context>,
    stores: Arc<Stores>,
    backoff: Backoff,
    not_before: HashMap<String, Instant>,
    /// The last good map of each namespace.
    last: HashMap<String, Arc<MirrorMap>>,
    /// The stored map whose table hash was last checked, by its validator, and the hash that follows from it.
    checked: HashMap<String, (String, String)>,
    since: Instant,
}

/// What a namespace's map is computed from.
struct Objects {
    cache_mirrors: Vec<Arc<DeserializeGuard<CacheMirror>>>,
    policies: Vec<Arc<DeserializeGuard<ReplicationPolicy>>>,
}

/// A map that is due.
struct Due {
    before: Arc<MirrorMap>,
    map: MirrorMap,
}

impl Writer {
    /// A writer that begins to lead now.
    #[must_use]
    pub fn new(context: Arc<Context>, stores: Arc<Stores>) -> Self {
        Self {
            context,
            stores,
            backoff: Backoff::default(),
            not_before: HashMap::new(),
            last: HashMap::new(),
            checked: HashMap::new(),
            since: Instant::now(),
        }
    }

    /// Keeps all maps as they should be, for as long as it is polled.
    pub async fn run(mut self) {
        let mut reports = self.context.reports.changes();
        let mut maps = self.context.maps.changes();
        loop {
            self.round().await;
            tokio::time::sleep(PAUSE).await;
            tokio::select! {
                () = self.stores.changed.notified() => {}
                _ = reports.changed() => {}
                _ = maps.changed() => {}
                () = tokio::time::sleep(BEAT) => {}
            }
        }
    }

    async fn round(&mut self) {
        let mut namespaces: HashMap<String, Objects> = HashMap::new();
        let empty = || Objects { cache_mirrors: Vec::new(), policies: Vec::new() };
        for object in self.stores.cache_mirrors.state() {
            let namespace = object.namespace().unwrap_or_default();
            namespaces.entry(namespace).or_insert_with(empty).cache_mirrors.push(object);
        }
        for object in self.stores.policies.state() {
            let namespace = object.namespace().unwrap_or_default();
            namespaces.entry(namespace).or_insert_with(empty).policies.push(object);
        }
        for namespace in self.context.maps.namespaces() {
            namespaces.entry(namespace).or_insert_with(empty);
        }
        self.forget_all_but(&namespaces.keys().cloned().collect());
        for (namespace, objects) in namespaces {
            self.namespace(&namespace, &objects).await;
        }
    }

    fn forget_all_but(&mut self, namespaces: &BTreeSet<String>) {
        self.last.retain(|namespace, _| {
            let known = namespaces.contains(namespace);
            if !known {
                self.context.metrics.map_gone(namespace);
            }
            known
        });
        self.checked.retain(|namespace, _| namespaces.contains(namespace));
        self.not_before.retain(|namespace, _| namespaces.contains(namespace));
        self.backoff.retain(|namespace| namespaces.contains(namespace));
    }

    /// One namespace; an error only delays its next turn.
    async fn namespace(&mut self, namespace: &str, objects: &Objects) {
        let begun = Instant::now();
        if self.not_before.get(namespace).is_some_and(|until| begun < *until) {
            return;
        }
        let outcome = self.reconcile(namespace, objects).await;
        let label = outcome.as_ref().map(drop).map_err(WriteError::metric_label);
        match &outcome {
            Ok(false) => return,
            Ok(true) => self.backoff.succeeded(namespace),
            Err(WriteError::Conflict) => debug!(namespace, "somebody wrote the map first; computing it anew"),
            Err(error) => {
                warn!(namespace, %error, "the mirror map was not written");
                let wait = self.backoff.failed(namespace, rand::random());
                self.not_before.insert(namespace.to_owned(), begun + wait);
            }
        }
        self.context.metrics.reconciled(CONTROLLER, label, begun.elapsed());
    }

    /// Whether a map was written.
    async fn reconcile(&mut self, namespace: &str, objects: &Objects) -> Result<bool, WriteError> {
        let cached = self.context.maps.entry(namespace);
        if self.due(namespace, objects, cached.as_deref()).await?.is_none() {
            return Ok(false);
        }
        // What is due by the cache is computed again from what is stored now, and replaces exactly that.
        let read = stored::read(&self.context.client, namespace).await?;
        let entry = match &read {
            Some(config_map) => {
                self.context.maps.put(config_map, Instant::now());
                self.context.maps.entry(namespace)
            }
            None => None,
        };
        let Some(Due { before, map }) = self.due(namespace, objects, entry.as_deref()).await? else {
            return Ok(false);
        };
        let unreadable = entry.as_ref().filter(|entry| entry.map.is_err()).map(|entry| entry.text.as_str());
        let result = stored::write(&self.context.client, namespace, read, &map, unreadable).await;
        self.context.metrics.map_written(match &result {
            Ok(_) => "ok",
            Err(WriteError::Conflict) => "conflict",
            Err(_) => "error",
        });
        let written = result?;
        self.context.maps.put(&written, Instant::now());
        if let Some(entry) = self.context.maps.entry(namespace) {
            self.checked.insert(namespace.to_owned(), (entry.etag.clone(), map.table_hash.clone()));
        }
        info!(namespace, epoch = map.epoch, mirrors = map.mirrors.len(), "wrote the mirror map");
        self.context.metrics.map(namespace, map.epoch, map.mirrors.iter().map(|mirror| mirror.state));
        if unreadable.is_some() {
            tell::unreadable(&self.context, &written).await;
        }
        tell::states(&self.context, &objects.cache_mirrors, &before, &map).await;
        self.last.insert(namespace.to_owned(), Arc::new(map));
        Ok(true)
    }

    /// The map to write, if one is due, going by this entry.
    async fn due(
        &mut self,
        namespace: &str,
        objects: &Objects,
        entry: Option<&MapEntry>,
    ) -> Result<Option<Due>, WriteError> {
        let observed = self.context.reports.of(namespace);
        let reported = observed.values().filter_map(|seen| Some(seen.report.as_ref()?.epoch));
        let mut floor = recover::highest(reported);
        let stored = entry.and_then(|entry| entry.map.as_ref().ok().cloned());
        let before = if let Some(stored) = &stored {
            self.last.insert(namespace.to_owned(), Arc::clone(stored));
            let states = stored.mirrors.iter().map(|mirror| mirror.state);
            self.context.metrics.map(namespace, stored.epoch, states);
            Arc::clone(stored)
        } else {
            let Some(recovered) = self.recover(namespace, objects, entry) else { return Ok(None) };
            floor = floor.max(recovered.epoch);
            recovered
        };
        let nodes = self.stores.nodes.state();
        let pods = pods_of(&self.stores, namespace);
        let Desired { map: mut wanted, notes } = desired(&Inputs {
            namespace,
            before: &before,
            placement_epoch: entry.map_or(before.epoch, |entry| entry.placement_epoch),
            cache_mirrors: &objects.cache_mirrors,
            policies: &objects.policies,
            nodes: &nodes,
            pods: &pods,
            observed: &observed,
            now: Instant::now(),
        });
        tell::notes(&self.context, namespace, &objects.cache_mirrors, &wanted, notes).await;
        if stored.is_none() && wanted.mirrors.is_empty() && wanted.policies.is_empty() {
            return Ok(None);
        }
        wanted.table_hash = self.table_hash(namespace, entry, &before);
        let next = next::next(stored.as_deref(), wanted, floor)?;
        Ok(next.map(|map| Due { before, map }))
    }

    /// The table hash that follows from a stored map: another version of the operator may have stated another one, and no
    /// mirror of this version would follow that map. Computed once for each stored map.
    fn table_hash(&mut self, namespace: &str, entry: Option<&MapEntry>, before: &MirrorMap) -> String {
        let etag = entry.map(|entry| entry.etag.clone()).unwrap_or_default();
        if let Some((checked, hash)) = self.checked.get(namespace)
            && *checked == etag
        {
            return hash.clone();
        }
        let built = CompiledMap::build(before.clone());
        let hash = built.map(|built| built.map().table_hash.clone()).unwrap_or_default();
        self.checked.insert(namespace.to_owned(), (etag, hash.clone()));
        hash
    }

    /// What to go by when the stored map is missing or cannot be read; `None` while it is too early to say.
    fn recover(
        &self,
        namespace: &str,
        objects: &Objects,
        entry: Option<&MapEntry>,
    ) -> Option<Arc<MirrorMap>> {
        let recovered = self.last.get(namespace).cloned().unwrap_or_else(|| {
            Arc::new(recover::from_status(namespace, &objects.cache_mirrors, &objects.policies))
        });
        let is_new = entry.is_none() && recovered.epoch == 0;
        let unreadable = entry.and_then(|entry| entry.map.as_ref().err());
        if !is_new && self.since.elapsed() < ASKED_FOR {
            if let Some(error) = unreadable {
                let trouble = Trouble::MapUnreadable(error.to_string());
                let holders = recovered.mirrors.iter().map(|mirror| mirror.name.clone());
                let notes = holders.map(|holder| Note { holder, trouble: trouble.clone() });
                self.context.maps.tell(namespace, notes.collect());
            }
            return None;
        }
        if let Some(error) = unreadable {
            warn!(namespace, %error, "the stored mirror map cannot be read; putting it together again");
            self.context.metrics.error(CONTROLLER, "unreadable");
        }
        Some(recovered)
    }
}

/// On which node each holder's pod is.
fn pods_of(stores: &Stores, namespace: &str) -> HashMap<String, String> {
    let pods = stores.pods.state();
    let here = pods.iter().filter(|pod| pod.metadata.namespace.as_deref() == Some(namespace));
    here.filter_map(|pod| {
        let holder = pod.labels().get(crate::stores::HOLDER)?.clone();
        Some((holder, pod.spec.as_ref()?.node_name.clone()?))
    })
    .collect()
}
