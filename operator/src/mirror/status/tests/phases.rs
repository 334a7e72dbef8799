//! From the first start to a good end, and what stops a mirror on the way.

use super::*;
use crate::mirror::fixtures::with;

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
