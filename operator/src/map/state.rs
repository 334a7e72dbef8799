//! From joining to serving to unreachable and back: what is known about a holder decides its state in the map. Pure.

use std::time::Instant;

use granary_placement::{Mirror, MirrorState, Policy, report::Report};

use crate::reports::Observed;

/// The next state of `mirror` and the disk that it has.
///
/// * *Joining*: it was never heard of, has another disk than before, or has not yet everything that it is to hold.
/// * *Serving*: it said that it is synced, with a map that has this placement (`placement_epoch` or newer).
/// * *Unreachable*: it was known, and has been silent for [`crate::reports::SILENCE`].
pub fn next(
    mirror: &Mirror,
    policies: &[Policy],
    observed: Option<&Observed>,
    placement_epoch: u64,
    now: Instant,
) -> (MirrorState, Option<String>) {
    let disk = mirror.disk.clone();
    let Some(observed) = observed else { return (mirror.state, disk) };
    let Some(report) = observed.current(now) else {
        let state = match disk {
            Some(_) if observed.silent(now) => MirrorState::Unreachable,
            _ => mirror.state,
        };
        return (state, disk);
    };
    let same_disk = disk.as_ref() == Some(&report.disk);
    let serves = match mirror.state {
        // New work is no reason to stop serving.
        MirrorState::Serving => same_disk,
        MirrorState::Joining | MirrorState::Unreachable => {
            (same_disk || disk.is_none()) && is_synced(mirror, policies, report, placement_epoch)
        }
    };
    let state = if serves { MirrorState::Serving } else { MirrorState::Joining };
    (state, Some(report.disk.clone()))
}

/// Whether it says that it holds everything it is assigned by the policies of the map.
fn is_synced(mirror: &Mirror, policies: &[Policy], report: &Report, placement_epoch: u64) -> bool {
    let synced = |policy: &Policy| {
        report.policies.iter().any(|reported| reported.name == policy.name && reported.synced)
    };
    report.front_ready
        && report.epoch > 0
        && report.epoch >= placement_epoch
        && policies.iter().filter(|policy| policy.mirrors.contains(&mirror.name)).all(synced)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use granary_placement::report::PolicyReport;

    use super::*;
    use crate::{map::desired::tests::mirror, reports::tests::report};

    fn policy() -> Policy {
        Policy {
            name: "p".into(),
            mirrors: vec!["a-0".parse().unwrap()],
            target: 1,
            spread: vec![],
            store_paths: vec![],
            channels: Vec::new(),
            retention: None,
        }
    }

    fn synced(epoch: u64, synced: bool) -> Report {
        let policy = PolicyReport {
            name: "p".into(),
            catalog: None,
            catalog_error: None,
            assigned: 1,
            verified: 1,
            verified_bytes: 1,
            refused: 0,
            refusal: None,
            last_pass: None,
            synced,
        };
        Report { policies: vec![policy], ..report("a-0", epoch) }
    }

    fn seen(report: Report, seconds_ago: u64, now: Instant) -> Observed {
        let last = now.checked_sub(Duration::from_secs(seconds_ago)).unwrap();
        Observed {
            report: Some(Arc::new(report)),
            last_success: Some(last),
            since: last,
            asked: Some(last),
            error: None,
        }
    }

    /// The state that follows from `before` when the report is so old, with a placement since epoch 3.
    fn after(before: MirrorState, report: Report, seconds_ago: u64) -> MirrorState {
        let now = Instant::now() + Duration::from_hours(1);
        let mirror = Mirror { state: before, disk: Some("disk-of-a-0".into()), ..mirror("a-0") };
        next(&mirror, &[policy()], Some(&seen(report, seconds_ago, now)), 3, now).0
    }

    #[test]
    fn a_mirror_serves_once_it_is_synced_with_this_placement() {
        use MirrorState::{Joining, Serving, Unreachable};
        for before in [Joining, Unreachable] {
            assert_eq!(after(before, synced(3, true), 1), Serving);
            assert_eq!(after(before, synced(9, true), 1), Serving);
            assert_eq!(after(before, synced(3, false), 1), Joining);
            assert_eq!(after(before, synced(2, true), 1), Joining);
            assert_eq!(after(before, synced(0, true), 1), Joining);
            assert_eq!(after(before, report("a-0", 3), 1), Joining, "it does not know the policy yet");
            assert_eq!(after(before, Report { front_ready: false, ..synced(3, true) }, 1), Joining);
        }
        assert_eq!(after(Serving, synced(2, false), 1), Serving, "new work is no reason to stop serving");
    }

    #[test]
    fn silence_makes_it_unreachable_only_after_a_while() {
        use MirrorState::{Joining, Serving, Unreachable};
        for before in [Joining, Serving] {
            assert_eq!(after(before, synced(3, true), 20), Unreachable);
        }
        assert_eq!(after(Serving, synced(3, true), 19), Serving);
        assert_eq!(after(Unreachable, synced(3, true), 500), Unreachable);
    }

    #[test]
    fn another_disk_joins_anew() {
        let other = Report { disk: "other".into(), ..synced(3, true) };
        assert_eq!(after(MirrorState::Serving, other, 1), MirrorState::Joining);
    }

    #[test]
    fn what_was_never_heard_of_keeps_its_state() {
        let now = Instant::now() + Duration::from_hours(1);
        let silent =
            Observed { report: None, last_success: None, since: Instant::now(), asked: None, error: None };
        let (state, disk) = next(&mirror("a-0"), &[], Some(&silent), 1, now);
        assert_eq!((state, disk), (MirrorState::Joining, None));
        // A new leader that has not asked anybody yet knows nothing.
        let serving = Mirror { state: MirrorState::Serving, disk: Some("d".into()), ..mirror("a-0") };
        assert_eq!(next(&serving, &[], None, 1, now).0, MirrorState::Serving);
    }
}
