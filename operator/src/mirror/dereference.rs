//! Step 1: everything that is read. All of it comes from watched stores, so that a reconcile waits for nobody.

use std::{collections::BTreeMap, sync::Arc};

use granary_crds::CacheMirror;
use granary_placement::{MirrorMap, MirrorName};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;

use super::{names, stores::Stores};
use crate::{context::Context, map::Note, reports::Observed};

/// What is known about a `CacheMirror` besides its spec.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The namespace's mirror map.
    pub map: Option<Arc<MirrorMap>>,
    /// The wanted holders, by name.
    pub holders: BTreeMap<MirrorName, Seen>,
    /// All nodes.
    pub nodes: Vec<Arc<Node>>,
    /// What is wrong with holders as the map's writer sees it.
    pub notes: Vec<Note>,
}

/// What is known about a holder.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its pod.
    pub pod: Option<Arc<Pod>>,
    /// What it last said.
    pub observed: Option<Observed>,
}

/// Reads everything.
pub(super) fn dereference(object: &CacheMirror, stores: &Stores, context: &Context) -> Known {
    let namespace = object.namespace().unwrap_or_default();
    let mut holders: BTreeMap<MirrorName, Seen> = wanted(object)
        .map(|name| {
            let observed = context.reports.get(&namespace, name.as_str());
            (name, Seen { pod: None, observed })
        })
        .collect();
    for pod in stores.pods.state() {
        if pod.namespace().as_deref() != Some(namespace.as_str()) {
            continue;
        }
        let holder = pod.labels().get(names::MIRROR).and_then(|name| holders.get_mut(name.as_str()));
        let Some(holder) = holder else { continue };
        // A pod that is going and its successor have one name, so there is at most one; should a stranger carry the label, the first stays.
        holder.pod.get_or_insert(pod);
    }
    Known {
        map: context.maps.get(&namespace),
        holders,
        nodes: stores.nodes.state(),
        notes: context.maps.notes(&namespace, &object.name_any()),
    }
}

/// The holders that the spec asks for; none whose name would be no name.
fn wanted(object: &CacheMirror) -> impl Iterator<Item = MirrorName> {
    let replicas = object.spec.replicas.clamp(0, granary_crds::cache_mirror::MAX_REPLICAS);
    let cache_mirror = object.name_any();
    (0..u32::try_from(replicas).unwrap_or_default())
        .filter_map(move |ordinal| MirrorName::of_holder(&cache_mirror, ordinal).ok())
}

// === impl Known ===

impl Known {
    /// What the map's writer tells about a holder.
    pub(super) fn note(&self, holder: &MirrorName) -> Option<&Note> {
        self.notes.iter().find(|note| note.holder == *holder)
    }

    /// The node of this name.
    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().map(Arc::as_ref).find(|node| node.metadata.name.as_deref() == Some(name))
    }
}
