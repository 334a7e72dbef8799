//! Step 1: everything that a status depends on, read from what is in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use granary_crds::ReplicationPolicy;
use granary_placement::{CompiledMap, MirrorName, Policy};
use kube::ResourceExt;

use super::Reasons;
use crate::{
    context::Context,
    map::{MapEntry, Trouble},
    reports::Observed,
};

/// What is known about one policy.
pub struct Facts {
    /// Whether there is a map that can be read.
    pub has_map: bool,
    /// What the map says about it; `None` when it is not in the map.
    pub placed: Option<Placed>,
    /// What its mirrors last said.
    pub observed: HashMap<String, Observed>,
    /// The present, as the observations count it.
    pub now: Instant,
}

/// A policy in the map.
pub struct Placed {
    /// The map's epoch.
    pub epoch: u64,
    /// Reports that go by an older epoch may be about another placement.
    pub placement_epoch: u64,
    /// For how long the placement has been as it is.
    pub age: Duration,
    /// The policy's entry.
    pub entry: Policy,
    /// Why it cannot be placed in full.
    pub shortfalls: Reasons,
    /// Selected replicas that take no part because they have no node.
    pub homeless: Vec<MirrorName>,
}

/// The shortfalls of all policies of a namespace, computed once for each placement.
#[derive(Default)]
pub struct Shortfalls {
    known: Mutex<HashMap<String, OfPlacement>>,
}

/// A placement, and the shortfalls of each policy under it.
type OfPlacement = (String, HashMap<String, Reasons>);

impl Shortfalls {
    fn of(&self, namespace: &str, entry: &MapEntry, policy: &str) -> Reasons {
        let Ok(map) = &entry.map else { return Reasons::new() };
        // States and disks change often and have no part in it.
        let domains = map
            .mirrors
            .iter()
            .map(|mirror| (&mirror.name, &mirror.zone, &mirror.region, &mirror.organization));
        let asked = map.policies.iter().map(|policy| (&policy.name, policy.target, &policy.spread));
        let version =
            format!("{} {:?} {:?}", map.table_hash, domains.collect::<Vec<_>>(), asked.collect::<Vec<_>>());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, all) = known.entry(namespace.to_owned()).or_default();
        if *seen != version {
            let built = CompiledMap::build(map.as_ref().clone());
            *all = built.map_or_else(
                |_| HashMap::new(),
                |built| {
                    let policies = map.policies.iter();
                    policies.map(|policy| (policy.name.clone(), built.shortfalls(&policy.name))).collect()
                },
            );
            *seen = version;
        }
        all.get(policy).cloned().unwrap_or_default()
    }
}

/// Reads what a policy's status depends on.
pub fn dereference(context: &Context, shortfalls: &Shortfalls, policy: &ReplicationPolicy) -> Facts {
    let (namespace, name) = (policy.namespace().unwrap_or_default(), policy.name_any());
    let now = Instant::now();
    let stored = context.maps.entry(&namespace);
    let has_map = stored.as_ref().is_some_and(|stored| stored.map.is_ok());
    let placed = stored.and_then(|stored| {
        let map = stored.map.as_ref().ok()?;
        let entry = map.policies.iter().find(|entry| entry.name == name)?.clone();
        Some(Placed {
            epoch: map.epoch,
            placement_epoch: stored.placement_epoch,
            age: now.saturating_duration_since(stored.since),
            shortfalls: shortfalls.of(&namespace, &stored, &name),
            homeless: map
                .mirrors
                .iter()
                .filter_map(|mirror| mirror.name.holder())
                .map(|(owner, _)| owner)
                .collect::<std::collections::BTreeSet<_>>()
                .into_iter()
                .flat_map(|owner| context.maps.notes(&namespace, owner))
                .filter(|note| matches!(note.trouble, Trouble::NoNode(_)))
                .map(|note| note.holder)
                .collect(),
            entry,
        })
    });
    Facts { has_map, placed, observed: context.reports.of(&namespace), now }
}
