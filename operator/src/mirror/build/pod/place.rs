//! Where the pod may run: a host path pins it to one node, a volume lets the scheduler choose.

use k8s_openapi::api::core::v1::{
    Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodAffinityTerm,
    PodAntiAffinity, Toleration, TopologySpreadConstraint,
};

use crate::mirror::{
    names::{self, Labels},
    validate::{Holder, Place, ValidatedMirror},
};

/// The taints of a node that stopped answering. A pinned pod could go nowhere else: it stays, and may still be serving.
const STATES: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// Two replicas on one node would share what can fail.
pub(super) fn affinity(mirror: &ValidatedMirror, holder: &Holder) -> Affinity {
    let apart = PodAffinityTerm {
        topology_key: "kubernetes.io/hostname".to_owned(),
        label_selector: Some(names::selector(names::select_all(&mirror.name))),
        ..PodAffinityTerm::default()
    };
    Affinity {
        node_affinity: node(&holder.place).map(only),
        pod_anti_affinity: Some(PodAntiAffinity {
            required_during_scheduling_ignored_during_execution: Some(vec![apart]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// The labels that a node must have. For a pinned pod they were asked when it got its node, and are not asked again.
pub(super) fn node_selector(mirror: &ValidatedMirror, holder: &Holder) -> Option<Labels> {
    (node(&holder.place).is_none() && !mirror.selector.is_empty()).then(|| mirror.selector.clone())
}

/// The taints that do not matter.
pub(super) fn tolerations(mirror: &ValidatedMirror, holder: &Holder) -> Option<Vec<Toleration>> {
    let mut tolerations = mirror.tolerations.clone();
    if node(&holder.place).is_some() {
        tolerations.extend(STATES.map(|key| Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some("NoExecute".to_owned()),
            ..Toleration::default()
        }));
    }
    (!tolerations.is_empty()).then_some(tolerations)
}

/// Over zones, as far as there are any with room.
pub(super) fn spread(mirror: &ValidatedMirror, holder: &Holder) -> Option<Vec<TopologySpreadConstraint>> {
    node(&holder.place).is_none().then(|| {
        vec![TopologySpreadConstraint {
            topology_key: "topology.kubernetes.io/zone".to_owned(),
            max_skew: 1,
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(names::selector(names::select_all(&mirror.name))),
            ..TopologySpreadConstraint::default()
        }]
    })
}

fn node(place: &Place) -> Option<&str> {
    match place {
        Place::Pinned(node) => Some(node),
        Place::Anywhere | Place::Waiting => None,
    }
}

/// By the node's name, not by its hostname label, which may differ and can be edited.
fn only(node: &str) -> NodeAffinity {
    let name = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    NodeAffinity {
        required_during_scheduling_ignored_during_execution: Some(NodeSelector {
            node_selector_terms: vec![NodeSelectorTerm {
                match_fields: Some(vec![name]),
                ..NodeSelectorTerm::default()
            }],
        }),
        ..NodeAffinity::default()
    }
}
