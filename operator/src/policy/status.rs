//! Step 3: the status. Pure.

use std::time::Duration;

use granary_crds::{
    ReplicationPolicy, ReplicationPolicyStatus, find_condition,
    replication_policy::ReplicationPolicyPhase as Phase, set_condition,
};
use jiff::Timestamp;

use super::{
    conditions::{self, Verdict},
    count::Count,
    dereference::{Facts, Placed},
};
use crate::{map::policies, metrics::PolicyNumbers};

/// For how long after a new placement the figures before it stand, while mirrors have not yet spoken about it. Longer than
/// mirrors take to fetch a map and the operator to ask them.
const SETTLING: Duration = Duration::from_secs(30);

/// The condition that says whether the policy can be carried out in full.
pub const ACCEPTED: &str = "Accepted";
const CATALOG_RESOLVED: &str = "CatalogResolved";
/// The condition that says whether every copy is there.
pub const SATISFIED: &str = "Satisfied";

/// The status that follows from what is known. Figures:
///
/// * `copiesWanted`: artifacts times target, also when there are fewer mirrors than the target.
/// * `copiesTotal`: verified copies on mirrors that answer, as far as they speak about the placement in force.
/// * `belowTarget`: **at most** so many artifacts have fewer copies than wanted: the missing copies, but not more than there are
///   artifacts. Reports carry sums, so several copies that one artifact lacks cannot be told from one copy that several lack.
pub fn status(policy: &ReplicationPolicy, facts: &Facts, now: Timestamp) -> ReplicationPolicyStatus {
    let generation = policy.metadata.generation;
    let before = policy.status.clone().unwrap_or_default();
    let same_spec = before.observed_generation == generation;
    let is_known =
        find_condition(&before.conditions, SATISFIED).is_some_and(|known| known.status != "Unknown");
    if !facts.has_map && same_spec && is_known {
        // The map is lost for a moment: its writer puts it together again, and nothing has changed for the copies.
        return before;
    }
    let mut status = ReplicationPolicyStatus { observed_generation: generation, ..before };
    let set =
        |status: &mut ReplicationPolicyStatus, type_, Verdict { status: holds, reason, message }: Verdict| {
            set_condition(&mut status.conditions, type_, holds, reason, &message, generation, now);
        };
    let read = policies::read(policy);
    let current = facts.placed.as_ref().filter(|placed| {
        policy.spec.suspend
            || read.as_ref().is_ok_and(|(read, _)| policies::asks_the_same(read, &placed.entry))
    });
    let Some(placed) = current else {
        let verdict = match read {
            Err(fault) => Verdict { status: Some(false), reason: "Invalid", message: fault.to_string() },
            Ok(_) if policy.spec.suspend => {
                unknown("Suspended", "it was suspended before it was placed, so nothing is copied for it")
            }
            Ok(_) => unknown("Waiting", "it is not in the mirror map yet"),
        };
        status.phase = Some(phase(policy, &verdict, &verdict));
        set(&mut status, SATISFIED, Verdict { status: None, ..verdict.clone() });
        set(&mut status, ACCEPTED, verdict);
        return status;
    };
    status.epoch = signed(placed.epoch);
    let count = Count::of(placed, &facts.observed, facts.now);
    let accepted = conditions::accepted(placed);
    if same_spec && is_known && is_settling(placed, &count) {
        set(&mut status, ACCEPTED, accepted);
        return status;
    }
    let artifacts = count.artifacts().unwrap_or_else(|| status.artifacts.try_into().unwrap_or(0));
    let wanted = artifacts.saturating_mul(u64::from(placed.entry.target));
    let resolved = conditions::catalog_resolved(&count);
    let satisfied = conditions::satisfied(&accepted, &resolved, &count, wanted);
    status.artifacts = signed(artifacts);
    status.copies_wanted = signed(wanted);
    status.copies_total = signed(count.copies);
    status.below_target = signed(wanted.saturating_sub(count.copies).min(artifacts));
    status.refused = signed(count.refused);
    status.bytes = signed(count.bytes);
    status.phase = Some(phase(policy, &accepted, &satisfied));
    set(&mut status, ACCEPTED, accepted);
    set(&mut status, CATALOG_RESOLVED, resolved);
    set(&mut status, SATISFIED, satisfied);
    status
}

fn unknown(reason: &'static str, message: &str) -> Verdict {
    Verdict { status: None, reason, message: message.to_owned() }
}

/// Whether the mirrors are only about to speak, to a new leader or about a new placement, so that counting now would show
/// copies as lost that are there.
fn is_settling(placed: &Placed, count: &Count) -> bool {
    !count.unasked.is_empty() || (!count.behind.is_empty() && placed.age < SETTLING)
}

fn phase(policy: &ReplicationPolicy, accepted: &Verdict, satisfied: &Verdict) -> Phase {
    if policy.spec.suspend {
        return Phase::Suspended;
    }
    match (accepted.status, satisfied.status, satisfied.reason) {
        (Some(false), ..) | (_, Some(false), "MirrorsSilent" | "Refused" | "CatalogUnknown") => {
            Phase::Degraded
        }
        (_, Some(true), _) => Phase::Satisfied,
        (_, Some(false), _) => Phase::Syncing,
        (_, None, _) => Phase::Pending,
    }
}

/// The figures for the metrics.
pub fn numbers(status: &ReplicationPolicyStatus) -> PolicyNumbers {
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    PolicyNumbers {
        artifacts: unsigned(status.artifacts),
        wanted: unsigned(status.copies_wanted),
        total: unsigned(status.copies_total),
        below_target: unsigned(status.below_target),
        refused: unsigned(status.refused),
        accepted: find_condition(&status.conditions, ACCEPTED)
            .is_some_and(|condition| condition.status == "True")
            .into(),
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
