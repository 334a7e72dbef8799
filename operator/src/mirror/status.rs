//! Step 5: what the user is told. Pure; the driver writes it.

mod conditions;
mod events;
mod holder;

use std::time::Instant;

use granary_crds::{
    CacheMirror, CacheMirrorStatus, Condition,
    cache_mirror::{CacheMirrorPhase, MirrorStatus, ObservedState},
    set_condition,
};
use k8s_openapi::jiff::Timestamp;

use super::{
    dereference::Known,
    resources::{Applied, Resources},
    validate::{Invalid, ValidatedMirror},
};

pub(super) use events::{News, news};

/// How far the pipeline came.
pub(super) enum Outcome<'a> {
    /// The spec asks to leave everything as it is.
    Suspended,
    /// The spec cannot be carried out.
    Invalid(&'a [Invalid]),
    /// The spec is good, but something could not be written.
    Failed(&'a ValidatedMirror, String),
    /// Everything is at the API server.
    Applied(&'a Resources<Applied>),
}

/// When this is: the clock for what people read, and the one that never jumps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// For conditions.
    pub clock: Timestamp,
    /// For how long ago something was.
    pub instant: Instant,
}

/// The whole status.
pub(super) fn status(
    object: &CacheMirror,
    outcome: &Outcome<'_>,
    known: &Known,
    now: Now,
) -> CacheMirrorStatus {
    let before = object.status.clone().unwrap_or_default();
    let mirrors: Vec<MirrorStatus> = known
        .holders
        .iter()
        .map(|(name, seen)| {
            let previous = before.mirrors.iter().find(|mirror| mirror.name == name.as_str());
            holder::status(object, outcome, name, seen, known, previous, now)
        })
        .collect();
    let mut conditions = before.conditions;
    let verdicts = conditions::all(object, outcome, known, &mirrors, now);
    let types: Vec<&str> = verdicts.iter().map(|verdict| verdict.type_).collect();
    conditions.retain(|condition| types.contains(&condition.type_.as_str()));
    for conditions::Verdict { type_, status, reason, message } in &verdicts {
        set_condition(
            &mut conditions,
            type_,
            *status,
            reason,
            message,
            object.metadata.generation,
            now.clock,
        );
    }
    let reports = || known.holders.values().filter_map(|seen| seen.observed.as_ref()?.current(now.instant));
    let serving = mirrors.iter().filter(|mirror| mirror.state == ObservedState::Serving).count();
    CacheMirrorStatus {
        observed_generation: object.metadata.generation,
        phase: Some(phase(outcome, &mirrors, &conditions)),
        epoch: reports().map(|report| signed(report.epoch)).min().unwrap_or(before.epoch),
        mirrors_ready: format!("{serving}/{}", mirrors.len()),
        artifacts: mirrors.iter().map(|mirror| mirror.artifacts).sum(),
        bytes: mirrors.iter().map(|mirror| mirror.bytes).sum(),
        refused: mirrors.iter().map(|mirror| mirror.refused).sum(),
        mirrors,
        conditions,
    }
}

fn phase(outcome: &Outcome<'_>, mirrors: &[MirrorStatus], conditions: &[Condition]) -> CacheMirrorPhase {
    let holds = |type_: &str| {
        conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "True")
    };
    let fails = |type_: &str| {
        conditions.iter().any(|condition| condition.type_ == type_ && condition.status == "False")
    };
    let some = |state: ObservedState| mirrors.iter().any(|mirror| mirror.state == state);
    let heard = mirrors.iter().any(|mirror| mirror.disk.is_some());
    match outcome {
        Outcome::Suspended => CacheMirrorPhase::Suspended,
        Outcome::Invalid(_) | Outcome::Failed(..) => CacheMirrorPhase::Degraded,
        Outcome::Applied(_) if some(ObservedState::Unreachable) || fails(conditions::ACCEPTED) => {
            CacheMirrorPhase::Degraded
        }
        // A first start is no fault; a mirror that serves while a replica has no node is less than what was asked for.
        Outcome::Applied(_) if fails(conditions::ASSIGNED) && heard => CacheMirrorPhase::Degraded,
        Outcome::Applied(_) if holds(conditions::READY) && holds(conditions::SYNCED) => {
            CacheMirrorPhase::Ready
        }
        Outcome::Applied(_) if heard => CacheMirrorPhase::Syncing,
        Outcome::Applied(_) => CacheMirrorPhase::Pending,
    }
}

/// Kubernetes' integers are signed.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
