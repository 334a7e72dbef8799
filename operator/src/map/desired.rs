//! What the map of a namespace should say. Pure: everything that it depends on is in [`Inputs`].

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Instant,
};

use granary_crds::{CacheMirror, ReplicationPolicy};
use granary_placement::{
    Mirror, MirrorMap, MirrorName, MirrorState, Policy,
    assign::{self, Assignment},
    map::{MAX_MIRRORS, MAX_POLICIES},
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Resource, ResourceExt,
    core::{DeserializeGuard, SelectorExt},
};

use super::{
    holders,
    note::{Note, Trouble},
    policies, state,
};
use crate::reports::Observed;

/// What the map depends on.
pub struct Inputs<'a> {
    /// The namespace.
    pub namespace: &'a str,
    /// The map in force; without mirrors when there is none yet.
    pub before: &'a MirrorMap,
    /// Since which epoch the placement is as it is now.
    pub placement_epoch: u64,
    /// The namespace's `CacheMirror`s, also those that cannot be read.
    pub cache_mirrors: &'a [Arc<DeserializeGuard<CacheMirror>>],
    /// The namespace's `ReplicationPolicy`s, also those that cannot be read.
    pub policies: &'a [Arc<DeserializeGuard<ReplicationPolicy>>],
    /// The cluster's nodes.
    pub nodes: &'a [Arc<Node>],
    /// On which node each holder's pod is.
    pub pods: &'a HashMap<String, String>,
    /// What the holders last said.
    pub observed: &'a HashMap<String, Observed>,
    /// The present.
    pub now: Instant,
}

/// What the map should say, and what people should be told.
#[derive(Debug)]
pub struct Desired {
    /// The map in canonical form, with the epoch and the table hash of the one before.
    pub map: MirrorMap,
    /// What is wrong or has happened, by holder.
    pub notes: Vec<Note>,
}

/// Computes the map.
#[must_use]
pub fn desired(inputs: &Inputs) -> Desired {
    let mut work = Work { inputs, notes: Vec::new(), mirrors: BTreeMap::new() };
    work.mirrors();
    let policies = work.policies();
    for mirror in work.mirrors.values_mut() {
        let observed = inputs.observed.get(mirror.name.as_str());
        let (state, disk) = state::next(mirror, &policies, observed, inputs.placement_epoch, inputs.now);
        if let (Some(was), Some(is)) = (&mirror.disk, &disk)
            && was != is
        {
            let trouble = Trouble::DiskChanged { was: was.clone(), is: is.clone() };
            work.notes.push(Note { holder: mirror.name.clone(), trouble });
        }
        (mirror.state, mirror.disk) = (state, disk);
    }
    work.unique_disks();
    let mut map = MirrorMap {
        epoch: inputs.before.epoch,
        namespace: inputs.namespace.to_owned(),
        mirrors: work.mirrors.into_values().collect(),
        policies,
        table_hash: inputs.before.table_hash.clone(),
    };
    map.canonicalize();
    Desired { map, notes: work.notes }
}

struct Work<'a> {
    inputs: &'a Inputs<'a>,
    notes: Vec<Note>,
    mirrors: BTreeMap<MirrorName, Mirror>,
}

impl Work<'_> {
    /// The holders of all `CacheMirror`s, with nodes for those that need one.
    fn mirrors(&mut self) {
        // In order of name, so that nodes are given out alike whichever way the cache lists them.
        let mut objects: Vec<_> = self.inputs.cache_mirrors.iter().collect();
        objects.sort_by_key(|object| object.name_any());
        let pinned = self.assign(&objects);
        for object in objects {
            if object.meta().deletion_timestamp.is_some() {
                continue;
            }
            match &object.0 {
                Ok(cache_mirror) if !cache_mirror.spec.suspend => self.holders(cache_mirror, &pinned),
                // What cannot be read, and what is suspended, stays as it was.
                _ => self.keep(&object.name_any()),
            }
        }
        while self.mirrors.len() > MAX_MIRRORS {
            if let Some((holder, _)) = self.mirrors.pop_last() {
                self.notes.push(Note {
                    holder,
                    trouble: Trouble::Refused(format!("a namespace has at most {MAX_MIRRORS} mirrors")),
                });
            }
        }
    }

    fn keep(&mut self, cache_mirror: &str) {
        let before = self.inputs.before.mirrors.iter();
        let kept = before.filter(|mirror| mirror.name.holder().is_some_and(|(name, _)| name == cache_mirror));
        self.mirrors.extend(kept.map(|mirror| (mirror.name.clone(), mirror.clone())));
    }

    fn holders(&mut self, cache_mirror: &CacheMirror, pinned: &HashMap<MirrorName, String>) {
        let Inputs { namespace, before, nodes, pods, .. } = self.inputs;
        for name in holders::names(&cache_mirror.name_any(), cache_mirror.spec.replicas) {
            let node_name = pinned.get(&name).or_else(|| pods.get(name.as_str()));
            let node = nodes.iter().find(|node| Some(&node.name_any()) == node_name).map(AsRef::as_ref);
            let known = before.mirror(name.as_str());
            let entry =
                holders::entry(cache_mirror, namespace, &name, known, pinned.get(&name).cloned(), node);
            match alone(namespace, &entry).check() {
                Ok(()) => drop(self.mirrors.insert(name, entry)),
                Err(error) => {
                    self.notes
                        .push(Note { holder: name.clone(), trouble: Trouble::Refused(error.to_string()) });
                    self.mirrors.extend(known.map(|known| (name, known.clone())));
                }
            }
        }
    }

    /// The node of each holder with a host path: as the map has it, or newly chosen.
    fn assign(&mut self, objects: &[&Arc<DeserializeGuard<CacheMirror>>]) -> HashMap<MirrorName, String> {
        let mut existing: Vec<Assignment> =
            self.inputs.before.mirrors.iter().filter_map(assignment).collect();
        let readable = objects.iter().filter_map(|object| object.0.as_ref().ok());
        for cache_mirror in readable.filter(|mirror| {
            !mirror.spec.suspend
                && holders::on_host_path(mirror)
                && mirror.metadata.deletion_timestamp.is_none()
        }) {
            let name = cache_mirror.name_any();
            let candidates = super::nodes::candidates(
                &cache_mirror.spec.nodes,
                self.inputs.nodes.iter().map(AsRef::as_ref),
            );
            let holders = holders::names(&name, cache_mirror.spec.replicas);
            // Replicas that are no longer wanted hold no node back.
            existing
                .retain(|assignment| assignment.cache_mirror != name || holders.contains(&assignment.holder));
            let assigned = assign::assign(&name, &holders, &existing, &candidates);
            existing.extend(assigned.new);
            let refused = assigned.refused.into_iter();
            self.notes.extend(refused.map(|(holder, why)| Note { holder, trouble: Trouble::NoNode(why) }));
        }
        existing.into_iter().map(|assignment| (assignment.holder, assignment.node)).collect()
    }

    /// Two mirrors with one disk would be one copy that counts twice: the later one joins, and is told.
    fn unique_disks(&mut self) {
        let mut seen: HashMap<String, MirrorName> = HashMap::new();
        for mirror in self.mirrors.values_mut() {
            let Some(disk) = &mirror.disk else { continue };
            let Some(other) = seen.get(disk) else {
                seen.insert(disk.clone(), mirror.name.clone());
                continue;
            };
            mirror.state = MirrorState::Joining;
            let note = Note { holder: mirror.name.clone(), trouble: Trouble::SharedDisk(other.clone()) };
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    fn policies(&mut self) -> Vec<Policy> {
        let mut objects: Vec<_> = self.inputs.policies.iter().collect();
        objects.sort_by_key(|object| object.name_any());
        let alive = objects.into_iter().filter(|object| object.meta().deletion_timestamp.is_none());
        alive.filter_map(|object| self.policy(object)).take(MAX_POLICIES).collect()
    }

    /// A policy's entry. One that cannot be read or is suspended stays as it was; of one that is new there is nothing.
    fn policy(&self, object: &DeserializeGuard<ReplicationPolicy>) -> Option<Policy> {
        let read = object.0.as_ref().ok().filter(|policy| !policy.spec.suspend);
        if let Some(Ok((mut policy, selector))) = read.map(policies::read) {
            policy.mirrors = self.selected(|labels| selector.matches(labels));
            return Some(policy);
        }
        let name = object.name_any();
        let mut kept = self.inputs.before.policies.iter().find(|policy| policy.name == name)?.clone();
        kept.mirrors.retain(|mirror| self.mirrors.contains_key(mirror));
        Some(kept)
    }

    /// The holders that take part among those of the selected `CacheMirror`s.
    fn selected(&self, wanted: impl Fn(&BTreeMap<String, String>) -> bool) -> Vec<MirrorName> {
        let selected = self.inputs.cache_mirrors.iter().filter(|object| wanted(object.labels()));
        let names: Vec<String> = selected.map(|object| object.name_any()).collect();
        let of_selected = |mirror: &&Mirror| {
            mirror.name.holder().is_some_and(|(owner, _)| names.iter().any(|name| name == owner))
        };
        let mirrors = self.mirrors.values().filter(of_selected).filter(|mirror| self.takes_part(mirror));
        mirrors.map(|mirror| mirror.name.clone()).collect()
    }

    /// A holder takes part from when it is known where it stands; else artifacts would be placed on it, and placed anew a
    /// moment later. Once in, it stays in.
    fn takes_part(&self, mirror: &Mirror) -> bool {
        let Inputs { before, cache_mirrors, pods, .. } = self.inputs;
        let on_volume_in_zone = || {
            let owner = mirror.name.holder().map(|(owner, _)| owner.to_owned());
            cache_mirrors.iter().filter_map(|object| object.0.as_ref().ok()).any(|cache_mirror| {
                Some(cache_mirror.name_any()) == owner
                    && !holders::on_host_path(cache_mirror)
                    && cache_mirror.spec.zone.is_some()
            })
        };
        mirror.node.is_some()
            || pods.contains_key(mirror.name.as_str())
            || before.policies.iter().any(|policy| policy.mirrors.contains(&mirror.name))
            || on_volume_in_zone()
    }
}

fn assignment(mirror: &Mirror) -> Option<Assignment> {
    let (cache_mirror, _) = mirror.name.holder()?;
    Some(Assignment {
        cache_mirror: cache_mirror.to_owned(),
        holder: mirror.name.clone(),
        node: mirror.node.clone()?,
        zone: mirror.zone.clone(),
        region: mirror.region.clone(),
    })
}

/// A map of one mirror: the rules for what may stand in a map, asked of this mirror alone.
fn alone(namespace: &str, mirror: &Mirror) -> MirrorMap {
    MirrorMap {
        epoch: 0,
        namespace: namespace.to_owned(),
        mirrors: vec![mirror.clone()],
        policies: Vec::new(),
        table_hash: String::new(),
    }
}

#[cfg(test)]
#[path = "desired_tests.rs"]
pub(crate) mod tests;
