//! Nodes that are lost, silent, forgotten or not to be had.

use granary_placement::assign::NoNode;

use super::*;
use crate::map::Trouble;

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
fn a_node_once_told_is_not_forgotten_with_the_map() {
    let mut world = World::good();
    world.status(1);
    world.map.mirrors.clear();
    let (status, _) = world.status(2);
    // The mirror map takes lost assignments from here.
    assert_eq!(status.mirrors[1].node.as_deref(), Some("metal-8"));
}
