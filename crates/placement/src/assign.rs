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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(name: &str, zone: &str, region: &str) -> Node {
        Node { name: name.into(), zone: Some(zone.into()), region: Some(region.into()), ready: true }
    }

    fn nodes() -> Vec<Node> {
        vec![node("n1", "a1", "a"), node("n2", "a1", "a"), node("n3", "a2", "a"), node("n4", "b1", "b")]
    }

    fn holders(cache_mirror: &str, count: u32) -> Vec<MirrorName> {
        (0..count).map(|ordinal| MirrorName::of_holder(cache_mirror, ordinal).unwrap()).collect()
    }

    fn placed(assigned: &Assigned) -> Vec<&str> {
        assigned.new.iter().map(|assignment| assignment.node.as_str()).collect()
    }

    #[test]
    fn zones_come_first_then_regions_then_load() {
        let north = assign("north", &holders("north", 4), &[], &nodes());
        assert_eq!(placed(&north), ["n1", "n4", "n3", "n2"]);
        // n1 has a holder of another CacheMirror, so its zone's other node is taken.
        let east = assign("east", &holders("east", 1), &north.new[..1], &nodes()[..2]);
        assert_eq!(placed(&east), ["n2"]);
    }

    #[test]
    fn what_is_assigned_stays_even_on_a_lost_node() {
        let first = assign("north", &holders("north", 2), &[], &nodes());
        let mut later = nodes();
        later.remove(0);
        for node in &mut later {
            node.ready = node.name != "n4";
        }
        let more = assign("north", &holders("north", 3), &first.new, &later);
        assert_eq!(placed(&more), ["n3"]);
        assert_eq!(more.new[0].holder.as_str(), "north-2");
        assert_eq!(assign("north", &holders("north", 2), &first.new, &[]), Assigned::default());
    }

    #[test]
    fn a_holder_without_a_node_is_told_why() {
        let none = assign("north", &holders("north", 1), &[], &[]);
        assert_eq!(none.refused, [(holders("north", 1).remove(0), NoNode::NoCandidates)]);
        let mut few = nodes();
        few[3].ready = false;
        let taken = assign("north", &holders("north", 5), &[], &few);
        assert_eq!(taken.new.len(), 3);
        let reason = NoNode::AllTaken { fitting: 4, not_ready: 1 };
        let refused: Vec<_> =
            holders("north", 5).into_iter().skip(3).map(|holder| (holder, reason)).collect();
        assert_eq!(taken.refused, refused);
    }

    #[test]
    fn ordinals_are_numbers() {
        let many: Vec<Node> = (0..12).map(|number| node(&format!("n{number:02}"), "a", "a")).collect();
        let assigned = assign("north", &holders("north", 12), &[], &many);
        assert_eq!(assigned.new[2].holder.as_str(), "north-2");
        assert_eq!(assigned.new[11].node, "n11");
    }

    proptest! {
        /// Growing one by one gives what asking at once gives, in any order of candidates; no two share a node; and zones differ
        /// by one holder at most as long as they have free nodes.
        #[test]
        fn assignments_are_stable_and_spread(
            zones in proptest::collection::vec(0_usize..4, 1..12), count in 1_u32..12, shuffle in any::<prop::sample::Index>(),
        ) {
            let candidates: Vec<Node> = zones
                .iter()
                .enumerate()
                .map(|(number, zone)| node(&format!("n{number}"), &format!("z{zone}"), "r"))
                .collect();
            let at_once = assign("north", &holders("north", count), &[], &candidates);
            let mut turned = candidates.clone();
            turned.rotate_left(shuffle.index(candidates.len()));
            let mut one_by_one = Vec::new();
            for ordinal in 1..=count {
                one_by_one.extend(assign("north", &holders("north", ordinal), &one_by_one, &turned).new);
            }
            prop_assert_eq!(&at_once.new, &one_by_one);
            prop_assert_eq!(at_once.new.len(), candidates.len().min(count as usize));
            let used: BTreeSet<&str> = placed(&at_once).into_iter().collect();
            prop_assert_eq!(used.len(), at_once.new.len());
            let held = |zone: &Option<String>| at_once.new.iter().filter(|assignment| assignment.zone == *zone).count();
            let most = candidates.iter().map(|node| held(&node.zone)).max().unwrap_or_default();
            for node in candidates.iter().filter(|node| !used.contains(node.name.as_str())) {
                prop_assert!(held(&node.zone) + 1 >= most);
            }
        }
    }
}
