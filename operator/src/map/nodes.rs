//! Which Kubernetes nodes can take a holder, and in which domains they stand. Pure.

use granary_crds::cache_mirror::Nodes;
use granary_placement::assign;
use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use kube::ResourceExt;

/// The node label that names its zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// The node label that names its region.
pub const REGION: &str = "topology.kubernetes.io/region";

/// Kubernetes sets taints of this prefix for passing troubles of a node. They say that it is not ready, not that it does
/// not fit.
const PASSING: &str = "node.kubernetes.io/";

/// The nodes that a `CacheMirror`'s selector and tolerations allow.
pub fn candidates<'a>(allowed: &Nodes, nodes: impl IntoIterator<Item = &'a Node>) -> Vec<assign::Node> {
    let Nodes { selector, tolerations } = allowed;
    let fits = |node: &&Node| {
        selector.iter().all(|(key, value)| node.labels().get(key) == Some(value))
            && keeping_away(node, tolerations).all(|taint| taint.key.starts_with(PASSING))
    };
    nodes
        .into_iter()
        .filter(fits)
        .map(|node| assign::Node {
            name: node.name_any(),
            zone: domain(node, ZONE),
            region: domain(node, REGION),
            ready: is_ready(node) && keeping_away(node, tolerations).next().is_none(),
        })
        .collect()
}

/// The value of a topology label; an empty one is none.
pub fn domain(node: &Node, label: &str) -> Option<String> {
    node.labels().get(label).filter(|value| !value.is_empty()).cloned()
}

fn is_ready(node: &Node) -> bool {
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false);
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    ready && !cordoned && node.metadata.deletion_timestamp.is_none()
}

/// The taints that keep pods with these tolerations from being scheduled.
fn keeping_away<'a>(node: &'a Node, tolerations: &'a [Toleration]) -> impl Iterator<Item = &'a Taint> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().filter(|taint| {
        matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
            && !tolerations.iter().any(|toleration| tolerates(toleration, taint))
    })
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let any_value = toleration.operator.as_deref() == Some("Exists");
    given(&toleration.effect).is_none_or(|effect| effect == taint.effect)
        && match given(&toleration.key) {
            // Only "Exists" may stand without a key, and then tolerates everything.
            None => any_value,
            Some(key) => key == taint.key && (any_value || given(&toleration.value) == given(&taint.value)),
        }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn node(name: &str, zone: &str) -> Node {
        serde_yaml::from_str(&format!(
            "{{metadata: {{name: {name}, labels: {{disks: large, {ZONE}: {zone}, {REGION}: eu}}}},
               status: {{conditions: [{{type: Ready, status: 'True'}}]}}}}"
        ))
        .unwrap()
    }

    fn allowed(yaml: &str) -> Nodes {
        serde_yaml::from_str(yaml).unwrap()
    }

    /// Name and readiness of what is allowed among `one` node.
    fn seen(node: &Node, nodes: &str) -> Option<bool> {
        candidates(&allowed(nodes), [node]).first().map(|node| node.ready)
    }

    #[test]
    fn a_node_must_have_all_labels_of_the_selector() {
        let node = node("n1", "a");
        assert_eq!(seen(&node, "{}"), Some(true));
        assert_eq!(seen(&node, "{selector: {disks: large}}"), Some(true));
        assert_eq!(seen(&node, "{selector: {disks: large, other: x}}"), None);
        assert_eq!(candidates(&Nodes::default(), [&node])[0].zone.as_deref(), Some("a"));
    }

    #[test]
    fn a_taint_needs_a_toleration() {
        let mut node = node("n1", "a");
        node.spec =
            Some(serde_yaml::from_str("taints: [{key: storage, value: only, effect: NoSchedule}]").unwrap());
        assert_eq!(seen(&node, "{}"), None);
        for tolerated in [
            "{key: storage, operator: Exists}",
            "{key: storage, value: only, effect: NoSchedule}",
            "{operator: Exists}",
            "{key: storage, operator: Equal, value: only}",
        ] {
            assert_eq!(seen(&node, &format!("{{tolerations: [{tolerated}]}}")), Some(true), "{tolerated}");
        }
        for other in [
            "{key: storage, value: other}",
            "{key: x, operator: Exists}",
            "{key: storage, operator: Exists, effect: NoExecute}",
        ] {
            assert_eq!(seen(&node, &format!("{{tolerations: [{other}]}}")), None, "{other}");
        }
        node.spec = Some(serde_yaml::from_str("taints: [{key: x, effect: PreferNoSchedule}]").unwrap());
        assert_eq!(seen(&node, "{}"), Some(true));
    }

    #[test]
    fn a_node_in_trouble_fits_but_is_not_ready() {
        let mut node = node("n1", "a");
        node.spec = Some(
            serde_yaml::from_str("taints: [{key: node.kubernetes.io/unreachable, effect: NoExecute}]")
                .unwrap(),
        );
        assert_eq!(seen(&node, "{}"), Some(false));
        node.spec = Some(serde_yaml::from_str("unschedulable: true").unwrap());
        assert_eq!(seen(&node, "{}"), Some(false));
        node.spec = None;
        node.status = None;
        assert_eq!(seen(&node, "{}"), Some(false));
    }
}
