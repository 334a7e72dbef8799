//! Stories: what a user reads when something happens.

use std::{sync::Arc, time::Duration};

use granary_crds::find_condition;
use granary_placement::{
    MirrorMap, MirrorState,
    assign::NoNode,
    report::{CertificateReport, PolicyReport, Refusal, RefusalReason, Report, UpstreamReport},
};
use k8s_openapi::api::core::v1::Node;

use super::*;
use crate::{
    kube_ext::nodes::tests::node,
    map::{Note, Trouble},
    mirror::{
        dereference::Seen,
        fixtures::{applied, map, mirror, with},
        validate::validate,
    },
    reports::{NoAnswer, Reports, tests::report},
};

/// Everything around one `CacheMirror`, with two replicas that have their nodes.
struct World {
    object: CacheMirror,
    map: MirrorMap,
    nodes: Vec<Node>,
    notes: Vec<Note>,
    reports: Reports,
    start: Instant,
}

fn synced(holder: &str) -> Report {
    let policy = PolicyReport {
        name: "stable".into(),
        catalog: None,
        catalog_error: None,
        assigned: 5,
        verified: 5,
        verified_bytes: 50,
        refused: 0,
        refusal: None,
        last_pass: None,
        synced: true,
    };
    let upstream = UpstreamReport { url: "https://up".into(), ok: true, message: None };
    let verified_at = Some("2026-11-23T12:00:00Z".into());
    Report {
        artifacts: 5,
        bytes: 50,
        verified_at,
        policies: vec![policy],
        upstreams: vec![upstream],
        ..report(holder, 4)
    }
}

impl World {
    /// All is well.
    fn good() -> Self {
        let mut map = map();
        map.mirrors[1].node = Some("metal-8".into());
        for entry in &mut map.mirrors {
            entry.state = MirrorState::Serving;
            entry.disk = Some(format!("disk-of-{}", entry.name));
        }
        let world = Self {
            object: mirror(),
            map,
            nodes: vec![node("metal-7", "True"), node("metal-8", "True")],
            notes: vec![],
            reports: Reports::default(),
            start: Instant::now(),
        };
        world.hears("blue-0", Ok(synced("blue-0")), 0);
        world.hears("blue-1", Ok(synced("blue-1")), 0);
        world
    }

    fn hears(&self, holder: &str, said: Result<Report, &str>, second: u64) {
        self.reports.note(
            "site",
            holder,
            said.map_err(|why| NoAnswer::Asked(why.to_owned())),
            self.start + Duration::from_secs(second),
        );
    }

    fn known(&self) -> Known {
        let seen = |name: &str| Seen { pod: None, observed: self.reports.get("site", name) };
        let holders = ["blue-0", "blue-1"].map(|name| (name.parse().unwrap(), seen(name)));
        Known {
            map: Some(Arc::new(self.map.clone())),
            holders: holders.into(),
            nodes: self.nodes.iter().cloned().map(Arc::new).collect(),
            notes: self.notes.clone(),
        }
    }

    /// Runs the pipeline without its writes, and keeps the status for the next time.
    fn status(&mut self, second: u64) -> (CacheMirrorStatus, Vec<News>) {
        let known = self.known();
        let now = Now {
            clock: Timestamp::from_second(1_000 + i64::try_from(second).unwrap()).unwrap(),
            instant: self.start + Duration::from_secs(second),
        };
        let status = match validate(&self.object, known.map.as_deref()) {
            _ if self.object.spec.suspend => status(&self.object, &Outcome::Suspended, &known, now),
            Err(faults) => status(&self.object, &Outcome::Invalid(&faults), &known, now),
            Ok(valid) => {
                let outcome = &Outcome::Applied(&applied(&valid));
                status(&self.object, outcome, &known, now)
            }
        };
        let told = news(self.object.status.as_ref(), &status);
        self.object.status = Some(status.clone());
        (status, told)
    }
}

fn condition<'a>(status: &'a CacheMirrorStatus, type_: &str) -> (&'a str, &'a str, &'a str) {
    let condition = find_condition(&status.conditions, type_).unwrap();
    (condition.status.as_str(), condition.reason.as_str(), condition.message.as_str())
}

fn reasons(told: &[News]) -> Vec<&str> {
    told.iter().map(|news| news.reason).collect()
}

#[test]
fn when_all_is_well() {
    let mut world = World::good();
    let (status, told) = world.status(1);
    assert_eq!(status.phase, Some(CacheMirrorPhase::Ready));
    assert_eq!(
        (status.mirrors_ready.as_str(), status.artifacts, status.bytes, status.epoch),
        ("2/2", 10, 100, 4)
    );
    assert_eq!(condition(&status, "Ready"), ("True", "Serving", "2 of 2 replicas serve"));
    assert_eq!(condition(&status, "Assigned"), ("True", "Assigned", "blue-0 on metal-7, blue-1 on metal-8"));
    assert_eq!(condition(&status, "Synced").2, "10 of 10 assigned copies are there and verified");
    assert_eq!(status.observed_generation, Some(3));
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(3)));
    assert!(status.mirrors.iter().all(|mirror| mirror.message.is_none() && mirror.verified_at.is_some()));
    assert_eq!(reasons(&told), ["Assigned", "Assigned", "Ready"]);
    // Nothing changed: nothing is told, and nothing would be written.
    let (again, told) = world.status(5);
    assert_eq!((again, told), (status, vec![]));
}

#[test]
fn a_lost_node_is_named_and_the_other_replica_is_not_affected() {
    let mut world = World::good();
    world.status(1);
    world.nodes[1] = node("metal-8", "Unknown");
    world.map.mirrors[1].state = MirrorState::Unreachable;
    world.hears("blue-1", Err("connection timed out"), 25);
    world.hears("blue-0", Ok(synced("blue-0")), 25);
    let (status, told) = world.status(26);
    assert_eq!((status.phase, status.mirrors_ready.as_str()), (Some(CacheMirrorPhase::Degraded), "1/2"));
    let (holds, reason, message) = condition(&status, "Reachable");
    assert_eq!((holds, reason), ("False", "NodeLost"));
    assert_eq!(
        message,
        "blue-1 on node metal-8 does not answer: node metal-8: the node is not ready since 2026-11-23T12:00:00Z: Kubelet stopped posting node status."
    );
    assert_eq!(condition(&status, "Ready").1, "NodeLost");
    assert_eq!(
        (status.mirrors[0].state, status.mirrors[0].message.as_deref()),
        (ObservedState::Serving, None)
    );
    // What it held is still told.
    assert_eq!((status.mirrors[1].artifacts, status.artifacts), (5, 10));
    assert_eq!(reasons(&told), ["NodeLost"]);

    world.nodes[1] = node("metal-8", "True");
    world.map.mirrors[1].state = MirrorState::Serving;
    world.hears("blue-1", Ok(synced("blue-1")), 40);
    world.hears("blue-0", Ok(synced("blue-0")), 40);
    let (status, told) = world.status(41);
    assert_eq!(status.phase, Some(CacheMirrorPhase::Ready));
    assert_eq!(reasons(&told), ["Ready"]);
}

#[test]
fn a_silent_mirror_on_a_good_node_is_no_lost_node() {
    let mut world = World::good();
    world.status(1);
    world.map.mirrors[0].state = MirrorState::Unreachable;
    world.hears("blue-0", Err("connection refused"), 25);
    let (status, told) = world.status(26);
    assert_eq!(condition(&status, "Reachable").1, "Unreachable");
    assert_eq!(reasons(&told), [""; 0]);
}

#[test]
fn another_disk_is_told_until_the_map_has_nothing_to_tell() {
    let mut world = World::good();
    world.status(1);
    world.map.mirrors[0].state = MirrorState::Joining;
    let trouble = Trouble::DiskChanged { was: "disk-of-blue-0".into(), is: "new".into() };
    world.notes = vec![Note { holder: "blue-0".parse().unwrap(), trouble }];
    world.hears("blue-0", Ok(Report { disk: "new".into(), ..synced("blue-0") }), 2);
    let (status, _) = world.status(3);
    assert_eq!(status.mirrors[0].disk.as_deref(), Some("new"));
    assert!(status.mirrors[0].message.as_ref().unwrap().contains("disk changed from disk-of-blue-0 to new"));
    assert_eq!(condition(&status, "Ready").1, "Joining");
    world.notes.clear();
    world.map.mirrors[0].state = MirrorState::Serving;
    assert_eq!(condition(&world.status(4).0, "Ready").0, "True");
}

#[test]
fn a_refused_artifact_is_named_with_its_reason() {
    let mut world = World::good();
    world.status(1);
    let refusal = Refusal {
        store_path: "/nix/store/0-bad".into(),
        reason: RefusalReason::NarHash,
        message: "the NAR has another hash".into(),
        source: "https://up".into(),
    };
    world.hears("blue-1", Ok(Report { refused: vec![refusal], refused_total: 1, ..synced("blue-1") }), 2);
    let (status, told) = world.status(3);
    assert_eq!((status.phase, status.refused), (Some(CacheMirrorPhase::Degraded), 1));
    assert_eq!(
        condition(&status, "ArtifactsAccepted").2,
        "blue-1 refused 1 (nar-hash), the newest: /nix/store/0-bad from https://up (nar-hash): the NAR has another hash"
    );
    assert_eq!(reasons(&told), ["ArtifactsRefused"]);
    assert_eq!(condition(&status, "Ready").0, "True");
}

#[test]
fn a_failing_upstream_is_named() {
    let mut world = World::good();
    let upstream = UpstreamReport { url: "https://up".into(), ok: false, message: Some("timed out".into()) };
    world.hears("blue-0", Ok(Report { upstreams: vec![upstream], ..synced("blue-0") }), 1);
    let (status, _) = world.status(2);
    assert_eq!(
        condition(&status, "UpstreamsReachable"),
        ("False", "UpstreamFailed", "blue-0 cannot use https://up: timed out")
    );
}

#[test]
fn a_certificate_is_told_of_where_one_is_asked_for() {
    let mut world = World::good();
    let (status, _) = world.status(1);
    assert_eq!(find_condition(&status.conditions, "CertificateUsable"), None);

    world.object = with(&world.object, "{serving: {tls: {secretName: cert}}}");
    let (status, _) = world.status(2);
    assert_eq!(condition(&status, "CertificateUsable").0, "Unknown", "no replica has one yet");
    let mut says = |second, expires: Option<&str>, trouble: Option<&str>| {
        let [expires, trouble] = [expires, trouble].map(|word| word.map(str::to_owned));
        let certificate = Some(CertificateReport { expires, trouble });
        world.hears("blue-0", Ok(Report { certificate, ..synced("blue-0") }), second);
        let (status, _) = world.status(second);
        let (holds, reason, message) = condition(&status, "CertificateUsable");
        (holds.to_owned(), reason.to_owned(), message.to_owned())
    };
    let text = |words: [&str; 3]| (words[0].to_owned(), words[1].to_owned(), words[2].to_owned());
    assert_eq!(
        says(3, None, Some("no file")),
        text(["False", "NotUsable", "blue-0 cannot use the certificate, and it speaks no HTTPS: no file"])
    );
    let until = "2027-01-01T00:00:00Z";
    assert_eq!(says(4, Some(until), None), text(["True", "InUse", "it expires 2027-01-01T00:00:00Z"]));
    let (holds, _, message) = says(5, Some(until), Some("no pair"));
    assert_eq!(holds, "False");
    assert!(
        message.contains("goes on with the one that expires 2027-01-01") && message.contains("no pair"),
        "{message}"
    );
}

#[test]
fn without_a_node_the_condition_says_what_to_do() {
    let mut world = World::good();
    world.map.mirrors[1].node = None;
    let (status, _) = world.status(1);
    assert_eq!(condition(&status, "Assigned").0, "Unknown");
    let trouble = Trouble::NoNode(NoNode::NoCandidates);
    world.notes = vec![Note { holder: "blue-1".parse().unwrap(), trouble }];
    let (status, _) = world.status(2);
    let (holds, reason, message) = condition(&status, "Assigned");
    assert_eq!((holds, reason), ("False", "NoNode"));
    assert!(message.starts_with("blue-1: no node fits spec.nodes"), "{message}");
    assert_eq!(condition(&status, "Ready").1, "NotAssigned");
    assert_eq!(status.mirrors[0].message, None);
}

#[test]
fn a_spec_that_cannot_be_is_told_with_every_fault() {
    let mut world = World::good();
    world.object = with(&world.object, "{replicas: 2, upstreams: [], url: 'https://one'}");
    let (status, told) = world.status(1);
    assert_eq!(status.phase, Some(CacheMirrorPhase::Degraded));
    let (holds, reason, message) = condition(&status, "Ready");
    assert_eq!((holds, reason), ("False", "InvalidSpec"));
    assert!(message.contains("spec.upstreams is empty") && message.contains("{ordinal}"), "{message}");
    assert!(reasons(&told).contains(&"InvalidSpec"));
    assert!(!reasons(&world.status(2).1).contains(&"InvalidSpec"));
}

#[test]
fn suspended_and_resumed() {
    let mut world = World::good();
    world.status(1);
    world.object.spec.suspend = true;
    let (status, told) = world.status(2);
    assert_eq!(status.phase, Some(CacheMirrorPhase::Suspended));
    assert_eq!(condition(&status, "Suspended").0, "True");
    assert_eq!(status.mirrors[0].state, ObservedState::Serving);
    assert_eq!(reasons(&told), ["Suspended"]);
    world.object.spec.suspend = false;
    let (status, told) = world.status(3);
    assert!(find_condition(&status.conditions, "Suspended").is_none());
    assert_eq!(reasons(&told), ["Resumed"]);
}

#[test]
fn a_node_once_told_is_not_forgotten_with_the_map() {
    let mut world = World::good();
    world.status(1);
    world.map.mirrors.clear();
    let (status, _) = world.status(2);
    // The mirror map takes lost assignments from here.
    assert_eq!(status.mirrors[1].node.as_deref(), Some("metal-8"));
}

#[test]
fn a_first_start_is_pending_and_says_what_it_waits_for() {
    let mut world = World::good();
    world.reports = Reports::default();
    for entry in &mut world.map.mirrors {
        (entry.state, entry.disk) = (MirrorState::Joining, None);
    }
    let (status, _) = world.status(1);
    assert_eq!((status.phase, status.mirrors_ready.as_str()), (Some(CacheMirrorPhase::Pending), "0/2"));
    assert_eq!(condition(&status, "Reachable").0, "Unknown");
    assert_eq!(status.mirrors[0].message.as_deref(), Some("it has no pod yet"));
}

/// The leader can be lost with a node before it has written what it heard from there.
#[test]
fn the_silence_of_a_replica_that_the_map_does_not_know_yet_is_told() {
    let mut world = World::good();
    world.reports = Reports::default();
    let lost = &mut world.map.mirrors[1];
    (lost.state, lost.disk) = (MirrorState::Joining, None);
    world.nodes[1] = node("metal-8", "Unknown");
    world.hears("blue-0", Ok(synced("blue-0")), 3);
    world.hears("blue-1", Err("no answer within 2 s"), 3);
    let (status, _) = world.status(12);
    assert_eq!(condition(&status, "Reachable").0, "Unknown");
    let (status, _) = world.status(13);
    let (holds, reason, message) = condition(&status, "Reachable");
    assert_eq!((holds, reason, status.phase), ("False", "NodeLost", Some(CacheMirrorPhase::Degraded)));
    assert!(message.starts_with("blue-1 on node metal-8 does not answer"), "{message}");
}
