//! Which node each holder of a `CacheMirror` is pinned to, when its data is in a path of the node.
//!
//! The choice is made once: what is assigned stays, whatever becomes of the node, because the data is there. It changes only
//! when somebody takes the assignment away.

use std::collections::{BTreeMap, BTreeSet};

use crate::name::MirrorName;

/// A node that the `CacheMirror`'s selector and tolerations allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// Its zone. A node without one is a zone of its own.
    pub zone: Option<String>,
    /// Its region.
    pub region: Option<String>,
    /// Whether Kubernetes calls it ready and lets pods be scheduled on it.
    pub ready: bool,
}

/// A holder with its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The `CacheMirror` that the holder belongs to.
    pub cache_mirror: String,
    /// The holder.
    pub holder: MirrorName,
    /// The node.
    pub node: String,
    /// The node's zone when it was assigned.
    pub zone: Option<String>,
    /// The node's region when it was assigned.
    pub region: Option<String>,
}

/// Why a holder gets no node now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoNode {
    /// No node is allowed.
    #[error("no node fits spec.nodes: label a node so that the selector matches, or tolerate its taints")]
    NoCandidates,
    /// Every node that fits and is ready has a holder of this `CacheMirror` already, or none is ready.
    #[error(
        "{fitting} nodes fit spec.nodes; {not_ready} are free but not ready, and the others each have a holder of this CacheMirror: \
         add a node or lower spec.replicas"
    )]
    AllTaken {
        /// How many nodes fit.
        fitting: usize,
        /// How many of these have no holder of the `CacheMirror` and are not ready.
        not_ready: usize,
    },
}

/// What came of the holders that asked for a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    /// The new assignments, in order of holder.
    pub new: Vec<Assignment>,
    /// The holders that got none, in order of holder.
    pub refused: Vec<(MirrorName, NoNode)>,
}

/// Chooses nodes for those of a `CacheMirror`'s holders that have none in `existing`, which has the assignments of all
/// `CacheMirror`s. Each gets a ready candidate that has no holder of the same `CacheMirror`: from the zone with the fewest of
/// them, then the region with the fewest, then the node with the fewest holders of any kind, then the first by name.
#[must_use]
pub fn assign(
    cache_mirror: &str,
    holders: &[MirrorName],
    existing: &[Assignment],
    candidates: &[Node],
) -> Assigned {
    let mut usage = Usage::default();
    for assignment in existing {
        usage.add(assignment, cache_mirror);
    }
    let settled: BTreeSet<&MirrorName> = existing.iter().map(|assignment| &assignment.holder).collect();
    let mut waiting: Vec<&MirrorName> = holders.iter().filter(|holder| !settled.contains(holder)).collect();
    waiting.sort_by_key(|holder| (holder.holder().map(|(_, ordinal)| ordinal), *holder));
    waiting.dedup();
    let mut assigned = Assigned::default();
    for holder in waiting {
        let free = |node: &&Node| !usage.nodes.contains(&node.name);
        let best =
            candidates.iter().filter(|node| node.ready).filter(free).min_by_key(|node| usage.key(node));
        let Some(Node { name, zone, region, ready: _ }) = best else {
            let not_ready = candidates.iter().filter(free).count();
            let reason = if candidates.is_empty() {
                NoNode::NoCandidates
            } else {
                NoNode::AllTaken { fitting: candidates.len(), not_ready }
            };
            assigned.refused.push((holder.clone(), reason));
            continue;
        };
        let new = Assignment {
            cache_mirror: cache_mirror.to_owned(),
            holder: holder.clone(),
            node: name.clone(),
            zone: zone.clone(),
            region: region.clone(),
        };
        usage.add(&new, cache_mirror);
        assigned.new.push(new);
    }
    assigned
}

/// What is where so far.
#[derive(Default)]
struct Usage {
    /// The nodes that have a holder of the `CacheMirror`.
    nodes: BTreeSet<String>,
    /// How many of its holders each zone has. A node without a zone is a zone of its own.
    zones: BTreeMap<Result<String, String>, usize>,
    /// How many of its holders each region has.
    regions: BTreeMap<Option<String>, usize>,
    /// How many holders of any `CacheMirror` each node has.
    load: BTreeMap<String, usize>,
}

impl Usage {
    fn add(&mut self, assignment: &Assignment, cache_mirror: &str) {
        let Assignment { cache_mirror: owner, holder: _, node, zone, region } = assignment;
        *self.load.entry(node.clone()).or_default() += 1;
        if owner == cache_mirror {
            self.nodes.insert(node.clone());
            *self.zones.entry(zone_of(zone.as_ref(), node)).or_default() += 1;
            *self.regions.entry(region.clone()).or_default() += 1;
        }
    }

    fn key<'a>(&self, node: &'a Node) -> (usize, usize, usize, &'a str) {
        let count = |found: Option<&usize>| found.copied().unwrap_or_default();
        let zone = count(self.zones.get(&zone_of(node.zone.as_ref(), &node.name)));
        (zone, count(self.regions.get(&node.region)), count(self.load.get(&node.name)), &node.name)
    }
}

/// The zone's name, or the node's where there is no zone.
fn zone_of(zone: Option<&String>, node: &str) -> Result<String, String> {
    zone.cloned().ok_or_else(|| node.to_owned())
}
