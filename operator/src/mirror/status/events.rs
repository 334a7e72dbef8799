//! What changed between two statuses and is worth an event. What the mirror map's writer tells by itself (a mirror serves or does not
//! answer, another disk, no node) is not told twice.

use granary_crds::{
    CacheMirrorStatus,
    cache_mirror::{MirrorStatus, ObservedState},
    find_condition,
};

use granary_placement::MirrorName;

use super::conditions;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mirror) struct News {
    /// Whether somebody should look.
    pub warning: bool,
    pub reason: &'static str,
    pub note: String,
    /// The replica that it is about; `None`: all of it.
    pub holder: Option<MirrorName>,
}

fn news_of(warning: bool, reason: &'static str, note: impl Into<String>) -> News {
    News { warning, reason, note: note.into(), holder: None }
}

/// What to tell, in the order of the replicas. The first status of an object is no news but its faults are.
pub(in crate::mirror) fn news(before: Option<&CacheMirrorStatus>, after: &CacheMirrorStatus) -> Vec<News> {
    let nothing = CacheMirrorStatus::default();
    let before = before.unwrap_or(&nothing);
    let node_lost = find_condition(&after.conditions, conditions::REACHABLE)
        .is_some_and(|condition| condition.reason == "NodeLost");
    let mut told = Vec::new();
    for mirror in &after.mirrors {
        let previous = before.mirrors.iter().find(|previous| previous.name == mirror.name);
        let about = mirror.name.parse().ok();
        let of_replica = of_replica(previous, mirror, node_lost).into_iter();
        told.extend(of_replica.map(|news| News { holder: about.clone(), ..news }));
    }
    of_ready(before, after, &mut told);
    let suspended =
        |status: &CacheMirrorStatus| find_condition(&status.conditions, conditions::SUSPENDED).is_some();
    match (suspended(before), suspended(after)) {
        (false, true) => {
            told.push(news_of(false, "Suspended", "nothing is applied until spec.suspend is false"));
        }
        (true, false) => told.push(news_of(false, "Resumed", "changes are applied again")),
        _ => {}
    }
    told
}

fn of_replica(before: Option<&MirrorStatus>, after: &MirrorStatus, node_lost: bool) -> Vec<News> {
    let mut told = Vec::new();
    let nothing = MirrorStatus::default();
    let before = before.unwrap_or(&nothing);
    let name = &after.name;
    if let Some(node) = after.node.as_ref().filter(|node| before.node.as_ref() != Some(*node)) {
        told.push(news_of(false, "Assigned", format!("{name} is on node {node}")));
    }
    if before.state != after.state && after.state == ObservedState::Unreachable && node_lost {
        let why = after.message.as_deref().unwrap_or("no reason is known");
        told.push(news_of(true, "NodeLost", format!("{name} does not answer: {why}")));
    }
    if after.refused > before.refused {
        let why = after.message.as_deref().unwrap_or("see the mirror's log");
        told.push(news_of(true, "ArtifactsRefused", format!("{name}: {why}")));
    }
    told
}

fn of_ready(before: &CacheMirrorStatus, after: &CacheMirrorStatus, told: &mut Vec<News>) {
    let ready = |status: &CacheMirrorStatus| find_condition(&status.conditions, conditions::READY).cloned();
    let Some(now) = ready(after) else { return };
    let was = ready(before);
    let same = was.as_ref().is_some_and(|was| was.reason == now.reason && was.message == now.message);
    let was_true = was.is_some_and(|was| was.status == "True");
    match now.reason.as_str() {
        "InvalidSpec" | "ApplyFailed" if !same => {
            let reason = if now.reason == "InvalidSpec" { "InvalidSpec" } else { "ApplyFailed" };
            told.push(news_of(true, reason, now.message));
        }
        _ if now.status == "True" && !was_true => told.push(news_of(false, "Ready", now.message)),
        _ => {}
    }
}
