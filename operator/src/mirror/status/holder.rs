//! What is told about one replica.

use granary_crds::{
    CacheMirror,
    cache_mirror::{MirrorStatus, ObservedState},
};
use granary_placement::{MirrorName, MirrorState};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};

use super::{Now, Outcome, signed};
use crate::{
    kube_ext::{nodes, pods},
    mirror::{
        dereference::{Known, Seen},
        validate::Place,
    },
};

/// The status of one replica. What is not known now stays as it was told before: above all the node, since its disk is there.
pub(super) fn status(
    object: &CacheMirror,
    outcome: &Outcome<'_>,
    name: &MirrorName,
    seen: &Seen,
    known: &Known,
    previous: Option<&MirrorStatus>,
    now: Now,
) -> MirrorStatus {
    let previous = previous.cloned().unwrap_or_default();
    let entry = known.map.as_ref().and_then(|map| map.mirror(name.as_str()));
    let pod_node = seen.pod.as_ref().and_then(|pod| pod.spec.as_ref()?.node_name.clone());
    let node = entry.and_then(|entry| entry.node.clone()).or(pod_node).or(previous.node);
    let report = seen.observed.as_ref().and_then(|observed| observed.report.as_deref());
    let verified_at =
        report.and_then(|report| report.verified_at.as_deref()?.parse::<Timestamp>().ok()).map(Time);
    let mut status = MirrorStatus {
        name: name.to_string(),
        zone: object.spec.zone.clone().or_else(|| entry?.zone.clone()).or(previous.zone),
        region: object.spec.region.clone().or_else(|| entry?.region.clone()).or(previous.region),
        disk: report.map(|report| report.disk.clone()).or_else(|| entry?.disk.clone()).or(previous.disk),
        state: entry.map_or(previous.state, |entry| state(entry.state, seen, now)),
        artifacts: report.map_or(previous.artifacts, |report| signed(report.artifacts)),
        bytes: report.map_or(previous.bytes, |report| signed(report.bytes)),
        refused: report.map_or(previous.refused, |report| signed(report.refused_total)),
        verified_at: verified_at.or(previous.verified_at),
        epoch: report.map_or(previous.epoch, |report| signed(report.epoch)),
        node,
        message: None,
    };
    status.message = trouble(&status, outcome, name, seen, known, now);
    status
}

/// As the map says. A replica that the map does not know yet, since whoever wrote it was lost before it could, can be lost
/// with it; the map then has nothing to say of it, and its silence is told all the same.
fn state(state: MirrorState, seen: &Seen, now: Now) -> ObservedState {
    match state {
        MirrorState::Joining
            if seen.observed.as_ref().is_some_and(|observed| observed.never_answered(now.instant)) =>
        {
            ObservedState::Unreachable
        }
        MirrorState::Joining => ObservedState::Joining,
        MirrorState::Serving => ObservedState::Serving,
        MirrorState::Unreachable => ObservedState::Unreachable,
    }
}

/// Why a node takes a replica out, in plain words: it is not ready, or gone.
pub(super) fn node_trouble(node: &str, known: &Known) -> Option<String> {
    match known.node(node) {
        Some(node) => nodes::trouble(node),
        None => Some("the node is not in the cluster any more".to_owned()),
    }
}

/// The most telling thing that is wrong or waited for, the cause before its effects; `None` when all is well.
fn trouble(
    status: &MirrorStatus,
    outcome: &Outcome<'_>,
    name: &MirrorName,
    seen: &Seen,
    known: &Known,
    now: Now,
) -> Option<String> {
    if is_waiting(outcome, name) {
        let why = known.note(name).map(|note| note.trouble.to_string());
        return Some(why.unwrap_or_else(|| "it gets its node with the next mirror map".to_owned()));
    }
    let Some(observed) = seen.observed.as_ref().filter(|observed| observed.reachable(now.instant)) else {
        let on_node = status
            .node
            .as_deref()
            .and_then(|node| node_trouble(node, known).map(|trouble| format!("node {node}: {trouble}")));
        return on_node.or_else(|| seen.pod.as_deref().and_then(pods::trouble)).or_else(|| {
            Some(match (&seen.pod, seen.observed.as_ref().and_then(|observed| observed.error.as_deref())) {
                (None, _) => "it has no pod yet".to_owned(),
                (Some(_), Some(error)) => format!("it does not answer: {error}"),
                (Some(_), None) => "it has not answered yet".to_owned(),
            })
        });
    };
    let report = observed.report.as_deref()?;
    if let Some(note) = known.note(name) {
        return Some(note.trouble.to_string());
    }
    let broken = report.policies.iter().find_map(|policy| {
        policy.catalog_error.as_ref().map(|error| format!("policy {}: {error}", policy.name))
    });
    if broken.is_some() {
        return broken;
    }
    if let Some(refusal) = report.refused.first() {
        return Some(format!(
            "{} refused; the newest: {} ({}): {}",
            report.refused_total, refusal.store_path, refusal.reason, refusal.message
        ));
    }
    if !report.front_ready {
        return Some("nginx is not configured yet".to_owned());
    }
    let (assigned, verified) = report.policies.iter().fold((0_u64, 0_u64), |(assigned, verified), policy| {
        (assigned + policy.assigned, verified + policy.verified)
    });
    report
        .policies
        .iter()
        .any(|policy| !policy.synced)
        .then(|| format!("{verified} of {assigned} assigned copies are there"))
}

/// Whether the replica has no StatefulSet, because no node is known for it.
pub(super) fn is_waiting(outcome: &Outcome<'_>, name: &MirrorName) -> bool {
    match outcome {
        Outcome::Applied(applied) => {
            !applied.stateful_sets.iter().any(|set| set.metadata.name.as_deref() == Some(name.as_str()))
        }
        Outcome::Failed(mirror, _) => {
            mirror.holders.iter().any(|holder| holder.name == *name && holder.place == Place::Waiting)
        }
        Outcome::Suspended | Outcome::Invalid(_) => false,
    }
}
