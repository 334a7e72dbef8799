use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use granary_crds::Condition;
use granary_placement::{
    Policy, Shortfall,
    report::{CatalogReport, PolicyReport, Refusal, RefusalReason, Report},
};

use super::*;
use crate::{
    map::desired::tests::policy as object,
    reports::{Observed, tests::report},
};

const ROOT: &str = "/nix/store/00000000000000000000000000000000-a";

fn policy() -> ReplicationPolicy {
    let spec = format!("{{mirrors: {{}}, copies: {{target: 2}}, artifacts: {{storePaths: [{ROOT}]}}}}");
    let mut policy = object("p", &spec);
    policy.metadata.generation = Some(1);
    policy
}

/// What `a-0` and `b-0` have verified of ten artifacts, in epoch 5 with a placement since 4.
struct Scene {
    facts: Facts,
    now: Timestamp,
}

impl Scene {
    fn new(verified: [u64; 2]) -> Self {
        let now = Instant::now() + Duration::from_hours(1);
        let entry = Policy {
            name: "p".into(),
            mirrors: ["a-0", "b-0"].map(|name| name.parse().unwrap()).to_vec(),
            target: 2,
            spread: vec![],
            store_paths: vec![ROOT.into()],
            channels: Vec::new(),
            retention: None,
        };
        let placed = Placed {
            epoch: 5,
            placement_epoch: 4,
            age: Duration::from_hours(1),
            entry,
            shortfalls: vec![],
            homeless: vec![],
        };
        let facts = Facts { has_map: true, placed: Some(placed), observed: HashMap::new(), now };
        let scene = Self { facts, now: Timestamp::from_second(100).unwrap() };
        scene
            .says("a-0", |about| about.verified = verified[0])
            .says("b-0", |about| about.verified = verified[1])
    }

    fn says(self, name: &str, change: impl FnOnce(&mut PolicyReport)) -> Self {
        let mut about = PolicyReport {
            name: "p".into(),
            catalog: Some(CatalogReport { artifacts: 10, digest: "d".into(), bytes: 0 }),
            catalog_error: None,
            assigned: 10,
            verified: 10,
            verified_bytes: 7,
            refused: 0,
            refusal: None,
            last_pass: None,
            synced: true,
        };
        change(&mut about);
        self.reports(name, |report| report.policies = vec![about])
    }

    fn reports(mut self, name: &str, change: impl FnOnce(&mut Report)) -> Self {
        let known = self.facts.observed.remove(name).and_then(|seen| seen.report);
        let mut report = known.map_or_else(|| report(name, 4), |known| Report::clone(&known));
        change(&mut report);
        let now = self.facts.now;
        let seen = Observed {
            report: Some(Arc::new(report)),
            last_success: Some(now),
            since: now,
            asked: Some(now),
            error: None,
        };
        self.facts.observed.insert(name.into(), seen);
        self
    }

    fn silent(mut self, name: &str) -> Self {
        let seen = self.facts.observed.get_mut(name).unwrap();
        seen.last_success = self.facts.now.checked_sub(Duration::from_secs(20));
        self
    }

    fn placed(mut self, change: impl FnOnce(&mut Placed)) -> Self {
        change(self.facts.placed.as_mut().unwrap());
        self
    }

    fn status(&self, policy: &ReplicationPolicy) -> ReplicationPolicyStatus {
        status(policy, &self.facts, self.now)
    }
}

/// Status, reason and message of a condition.
fn condition<'a>(status: &'a ReplicationPolicyStatus, type_: &str) -> (&'a str, &'a str, &'a str) {
    let Condition { status, reason, message, .. } = find_condition(&status.conditions, type_).unwrap();
    (status, reason, message)
}

#[test]
fn all_copies_there_is_satisfied() {
    let status = Scene::new([10, 10]).status(&policy());
    assert_eq!(
        condition(&status, SATISFIED),
        ("True", "Verified", "all 20 copies are verified on 2 mirrors")
    );
    assert_eq!(condition(&status, ACCEPTED), ("True", "Placed", "placed on 2 mirrors"));
    assert_eq!(condition(&status, CATALOG_RESOLVED).0, "True");
    assert_eq!((status.artifacts, status.copies_wanted, status.copies_total), (10, 20, 20));
    assert_eq!((status.below_target, status.refused, status.bytes, status.epoch), (0, 0, 14, 5));
    assert_eq!((status.phase, status.observed_generation), (Some(Phase::Satisfied), Some(1)));
}

#[test]
fn missing_copies_are_counted_and_never_more_than_there_are_artifacts() {
    let status = Scene::new([10, 7]).status(&policy());
    assert_eq!(condition(&status, SATISFIED), ("False", "CopiesMissing", "17 of 20 copies are verified"));
    assert_eq!((status.below_target, status.phase), (3, Some(Phase::Syncing)));
    assert_eq!(Scene::new([0, 1]).status(&policy()).below_target, 10);
}

#[test]
fn a_silent_mirror_does_not_count_and_is_named() {
    let status = Scene::new([10, 10]).silent("b-0").status(&policy());
    let (holds, reason, message) = condition(&status, SATISFIED);
    assert_eq!((holds, reason), ("False", "MirrorsSilent"));
    assert_eq!(message, "10 of 20 copies are verified; no answer from b-0");
    assert_eq!((status.copies_total, status.phase), (10, Some(Phase::Degraded)));
}

#[test]
fn a_report_about_another_placement_does_not_count() {
    let late = Scene::new([10, 10]).reports("b-0", |report| report.epoch = 3);
    let status = late.status(&policy());
    assert_eq!(status.copies_total, 10);
    assert!(condition(&status, SATISFIED).2.contains("waiting for a report from b-0"));
}

#[test]
fn figures_stand_while_a_new_placement_settles_but_not_for_a_new_spec() {
    let mut policy = policy();
    policy.status = Some(Scene::new([10, 10]).status(&policy));
    let settling = || {
        let scene = Scene::new([10, 10]).reports("b-0", |report| report.epoch = 3);
        scene.placed(|placed| placed.age = Duration::from_secs(29))
    };
    let kept = settling().status(&policy);
    assert_eq!((kept.copies_total, condition(&kept, SATISFIED).0), (20, "True"));
    let over = settling().placed(|placed| placed.age = Duration::from_secs(30)).status(&policy);
    assert_eq!((over.copies_total, condition(&over, SATISFIED).0), (10, "False"));
    policy.metadata.generation = Some(2);
    assert_eq!(condition(&settling().status(&policy), SATISFIED).0, "False");
}

#[test]
fn refusals_are_told_with_path_and_reason() {
    let refusal = Refusal {
        store_path: ROOT.into(),
        reason: RefusalReason::NarHash,
        message: "got x".into(),
        source: "http://up".into(),
    };
    let scene = Scene::new([10, 10])
        .says("b-0", |about| {
            (about.verified, about.refused) = (9, 1);
            about.refusal = Some(refusal.clone());
        })
        // The mirror refused something of another policy, too, which is no business of this one.
        .reports("b-0", |report| {
            report.refused = vec![Refusal { message: "other".into(), ..refusal.clone() }];
        });
    let status = scene.status(&policy());
    let (_, reason, message) = condition(&status, SATISFIED);
    assert_eq!((reason, status.refused, status.phase), ("Refused", 1, Some(Phase::Degraded)));
    assert!(message.ends_with(&format!("1 refused: b-0: {ROOT} (nar-hash: got x)")), "{message}");
}

#[test]
fn a_policy_that_cannot_be_placed_is_not_accepted_even_when_all_copies_are_there() {
    let few = Shortfall::TargetAboveMirrors { target: 3, mirrors: 2 };
    let scene = Scene::new([10, 10]).placed(|placed| {
        placed.shortfalls = vec![few.clone()];
        placed.homeless = vec!["c-0".parse().unwrap()];
    });
    let status = scene.status(&policy());
    let (holds, reason, message) = condition(&status, ACCEPTED);
    assert_eq!((holds, reason), ("False", "TargetAboveMirrors"));
    assert!(message.starts_with(&few.to_string()) && message.contains("c-0"), "{message}");
    assert_eq!(condition(&status, SATISFIED).1, "CannotBePlaced");
    assert_eq!(status.phase, Some(Phase::Degraded));
}

#[test]
fn the_catalog_must_be_known_and_the_same_everywhere() {
    let failed = Scene::new([10, 10]).says("b-0", |about| {
        about.catalog = None;
        about.catalog_error = Some("no key".into());
    });
    let status = failed.status(&policy());
    assert_eq!(condition(&status, CATALOG_RESOLVED), ("False", "Unresolved", "b-0: no key"));
    assert_eq!((condition(&status, SATISFIED).0, status.phase), ("False", Some(Phase::Degraded)));

    let other = CatalogReport { artifacts: 11, digest: "e".into(), bytes: 0 };
    let split = Scene::new([10, 10]).says("b-0", |about| about.catalog = Some(other)).status(&policy());
    assert_eq!(condition(&split, CATALOG_RESOLVED).1, "Disagree");

    let none = Scene::new([0, 0]);
    let none = none.says("a-0", |about| about.catalog = None).says("b-0", |about| about.catalog = None);
    let status = none.status(&policy());
    assert_eq!(condition(&status, SATISFIED).0, "Unknown");
    assert_eq!(status.phase, Some(Phase::Pending));
}

#[test]
fn what_is_not_yet_in_the_map_is_waited_for() {
    let mut scene = Scene::new([10, 10]);
    let mut changed = policy();
    changed.spec.copies.target = 1;
    let status = scene.status(&changed);
    assert_eq!(condition(&status, ACCEPTED).1, "Waiting");
    assert_eq!((condition(&status, SATISFIED).0, status.phase), ("Unknown", Some(Phase::Pending)));
    changed.spec.copies.target = 0;
    assert_eq!(condition(&scene.status(&changed), ACCEPTED).1, "Invalid");
    changed.spec.suspend = true;
    assert_eq!(scene.status(&changed).phase, Some(Phase::Suspended));
    scene.facts.placed = None;
    changed.spec.copies.target = 2;
    assert_eq!(condition(&scene.status(&changed), ACCEPTED).1, "Suspended");
}

#[test]
fn a_map_that_is_lost_for_a_moment_changes_nothing() {
    let mut policy = policy();
    let mut scene = Scene::new([10, 10]);
    let known = scene.status(&policy);
    (scene.facts.placed, scene.facts.has_map) = (None, false);
    assert_eq!(condition(&scene.status(&policy), ACCEPTED).1, "Waiting");
    policy.status = Some(known.clone());
    assert_eq!(scene.status(&policy), known);
}

#[test]
fn nothing_is_kept_from_before_anything_was_known() {
    let mut policy = policy();
    let unknown = Scene::new([10, 10]).says("a-0", |about| about.catalog = None);
    policy.status = Some(unknown.says("b-0", |about| about.catalog = None).status(&policy));
    let settling = Scene::new([10, 10]).reports("b-0", |report| report.epoch = 3);
    let settling = settling.placed(|placed| placed.age = Duration::ZERO);
    assert_eq!(settling.status(&policy).copies_total, 10);
}

#[test]
fn a_new_leader_asks_before_it_judges() {
    let mut policy = policy();
    let mut scene = Scene::new([10, 10]);
    let known = scene.status(&policy);
    scene.facts.observed.remove("a-0");
    let seen = scene.facts.observed.get_mut("b-0").unwrap();
    (seen.report, seen.last_success) = (None, None);
    assert_eq!(scene.status(&policy).phase, Some(Phase::Pending));
    policy.status = Some(known.clone());
    assert_eq!(scene.status(&policy), known);
    // When it has asked in vain for long enough, it says so.
    let mut silent = scene.says("a-0", |_| {});
    let seen = silent.facts.observed.get_mut("b-0").unwrap();
    seen.since = silent.facts.now.checked_sub(Duration::from_secs(20)).unwrap();
    assert_eq!(condition(&silent.status(&policy), SATISFIED).1, "MirrorsSilent");
}

#[test]
fn the_same_facts_give_the_same_status() {
    let mut policy = policy();
    let scene = Scene::new([10, 7]);
    let first = scene.status(&policy);
    policy.status = Some(first.clone());
    let later = Scene { now: Timestamp::from_second(999).unwrap(), ..scene };
    assert_eq!(later.status(&policy), first);
}
