//! Troubles that a replica reports.

use granary_placement::report::{CertificateReport, Refusal, RefusalReason};

use super::*;
use crate::{map::Trouble, mirror::fixtures::with};

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
