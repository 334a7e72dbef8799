//! What a node's labels, taints and conditions mean for a holder.

use granary_crds::cache_mirror::Nodes;
use granary_placement::assign;
use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use kube::ResourceExt;

const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Taints with this prefix follow a node's state: such a node is not ready now, but it is no node that was set aside.
const LIFECYCLE: &str = "node.kubernetes.io/";

/// The node's region, if it is labelled.
#[must_use]
pub fn region(node: &Node) -> Option<&str> {
    label(node, REGION)
}

/// The node's zone, if it is labelled.
#[must_use]
pub fn zone(node: &Node) -> Option<&str> {
    label(node, ZONE)
}

/// Whether the kubelet says that the node is ready. A node that stopped reporting is not.
#[must_use]
pub fn is_ready(node: &Node) -> bool {
    trouble(node).is_none()
}

/// Why a node is not ready, in plain words; `None` when it is.
#[must_use]
pub fn trouble(node: &Node) -> Option<String> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    match conditions.into_iter().find(|condition| condition.type_ == "Ready") {
        None => Some("the node has not reported yet".to_owned()),
        Some(ready) if ready.status == "True" => None,
        Some(ready) => Some(match (ready.message.as_deref(), ready.reason.as_deref()) {
            (Some(text), _) | (None, Some(text)) if !text.is_empty() => {
                format!("the node is not ready: {text}")
            }
            _ => "the node is not ready".to_owned(),
        }),
    }
}

/// Whether `spec.nodes` lets a holder be on the node: every label of the selector, and no taint that is not tolerated. Taints
/// that only follow the node's state do not count: see [`assign::Node::ready`].
#[must_use]
pub fn fits(node: &Node, nodes: &Nodes) -> bool {
    let Nodes { selector, tolerations } = nodes;
    let labels = node.labels();
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
        && taints
            .into_iter()
            .filter(|taint| taint.effect != "PreferNoSchedule" && !taint.key.starts_with(LIFECYCLE))
            .all(|taint| tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// The node as the assignment sees it.
#[must_use]
pub fn as_candidate(node: &Node) -> assign::Node {
    let cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    assign::Node {
        name: node.name_any(),
        zone: zone(node).map(str::to_owned),
        region: region(node).map(str::to_owned),
        ready: is_ready(node) && !cordoned,
    }
}

fn label<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.labels().get(key).map(String::as_str).filter(|value| !value.is_empty())
}

/// Kubernetes' own rule.
fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let key = toleration.key.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => key.is_empty() || key == taint.key,
        None | Some("" | "Equal") => key == taint.key && value == taint.value.as_deref().unwrap_or_default(),
        Some(_) => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node(name: &str, zone: &str, ready: &str) -> Node {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": name, "labels": {ZONE: zone, REGION: "eu", "disk": "big"}},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": ready, "message": "Kubelet stopped posting node status."}]},
        }))
        .unwrap()
    }

    fn nodes(yaml: &str) -> Nodes {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn tainted(key: &str, effect: &str) -> Node {
        let mut node = node("n", "a", "True");
        let taint =
            Taint { key: key.into(), value: Some("x".into()), effect: effect.into(), time_added: None };
        node.spec.get_or_insert_default().taints = Some(vec![taint]);
        node
    }

    #[test]
    fn readiness_is_told_in_words() {
        assert_eq!(trouble(&node("n", "a", "True")), None);
        let silent = trouble(&node("n", "a", "Unknown")).unwrap();
        assert_eq!(silent, "the node is not ready: Kubelet stopped posting node status.");
        assert!(trouble(&Node::default()).is_some());
    }

    #[test]
    fn the_selector_needs_every_label() {
        assert!(fits(&node("n", "a", "True"), &nodes("selector: {disk: big}")));
        assert!(!fits(&node("n", "a", "True"), &nodes("selector: {disk: big, tier: x}")));
        assert!(!fits(&node("n", "a", "True"), &nodes("selector: {disk: small}")));
    }

    #[test]
    fn taints_keep_away_unless_tolerated() {
        for (tolerations, fitting) in [
            ("tolerations: []", false),
            ("tolerations: [{operator: Exists}]", true),
            ("tolerations: [{key: storage, operator: Exists}]", true),
            ("tolerations: [{key: storage, operator: Exists, effect: NoExecute}]", false),
            ("tolerations: [{key: storage, value: x, effect: NoSchedule}]", true),
            ("tolerations: [{key: storage, value: y}]", false),
            ("tolerations: [{key: other, operator: Exists}]", false),
        ] {
            assert_eq!(
                fits(&tainted("storage", "NoSchedule"), &nodes(tolerations)),
                fitting,
                "{tolerations}"
            );
        }
        assert!(fits(&tainted("storage", "PreferNoSchedule"), &nodes("{}")));
        assert!(fits(&tainted("node.kubernetes.io/unreachable", "NoExecute"), &nodes("{}")));
    }

    #[test]
    fn a_cordoned_node_is_not_ready_for_new_holders() {
        let mut cordoned = node("n", "a", "True");
        assert!(as_candidate(&cordoned).ready);
        cordoned.spec.get_or_insert_default().unschedulable = Some(true);
        let candidate = as_candidate(&cordoned);
        assert_eq!(
            (candidate.ready, candidate.zone.as_deref(), candidate.region.as_deref()),
            (false, Some("a"), Some("eu"))
        );
    }
}
