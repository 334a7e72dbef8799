//! What the operator may do: exactly this list, wherever the rules stand.

use serde_json::Value;

use crate::helm::{Helm, NAMESPACE, object};

/// What it needs where mirrors are, as `group/resource verbs`.
const NAMESPACED: &[&str] = &[
    "/configmaps create delete get list patch update watch",
    "/pods get list watch",
    "/services create delete get list patch watch",
    "apps/statefulsets create delete get list patch watch",
    "events.k8s.io/events create patch",
    "granary.dev/cachemirrors get list watch",
    "granary.dev/cachemirrors/finalizers update",
    "granary.dev/cachemirrors/status get patch",
    "granary.dev/replicationpolicies get list watch",
    "granary.dev/replicationpolicies/status get patch",
    "networking.k8s.io/networkpolicies create delete get list patch watch",
    "policy/poddisruptionbudgets create delete get list patch watch",
];
/// What has no namespace.
const NODES: &str = "/nodes get list watch";
/// What it needs where it runs itself.
const OWN: &[&str] = &["coordination.k8s.io/leases create get update", "events.k8s.io/events create patch"];

/// A role's rules, one line for each resource, sorted.
fn rules(role: &Value) -> Vec<String> {
    let words = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    };
    let mut lines = Vec::new();
    for rule in role["rules"].as_array().unwrap() {
        // Also a rule over `resourceNames` or `nonResourceURLs` would be one that nobody expects.
        let keys: Vec<_> = rule.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["apiGroups", "resources", "verbs"]);
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                let mut verbs = words(&rule["verbs"]);
                verbs.sort();
                lines.push(format!("{group}/{resource} {}", verbs.join(" ")));
            }
        }
    }
    lines.sort();
    lines
}

/// The objects of a kind.
fn of<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn it_gets_exactly_what_it_needs() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&[]);
    let mut everywhere = [NAMESPACED, &[NODES]].concat();
    everywhere.sort_unstable();
    assert_eq!(rules(object(&objects, "ClusterRole", "granary-operator")), everywhere);
    let own = object(&objects, "Role", "granary-operator-election");
    assert_eq!(rules(own), OWN);
    assert_eq!(own["metadata"]["namespace"], NAMESPACE);
    assert_eq!((of(&objects, "ClusterRole").len(), of(&objects, "Role").len()), (1, 1));
}

#[test]
fn for_one_namespace_only_nodes_are_left_cluster_wide() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&["--set", "watchNamespace=mirrors"]);
    assert_eq!(rules(object(&objects, "ClusterRole", "granary-operator")), [NODES]);
    let role = object(&objects, "Role", "granary-operator");
    assert_eq!(rules(role), NAMESPACED);
    assert_eq!(role["metadata"]["namespace"], "mirrors");
    assert_eq!(rules(object(&objects, "Role", "granary-operator-election")), OWN);
    assert_eq!((of(&objects, "ClusterRole").len(), of(&objects, "Role").len()), (1, 2));
}

#[test]
fn every_role_is_bound_to_the_operator_alone_and_in_its_namespace() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&["--set", "watchNamespace=mirrors,serviceAccount.name=own"]);
    for kind in ["Role", "ClusterRole"] {
        let bindings = of(&objects, &format!("{kind}Binding"));
        assert_eq!(bindings.len(), of(&objects, kind).len());
        for binding in bindings {
            assert_eq!(binding["roleRef"]["kind"], kind);
            let role = object(&objects, kind, binding["roleRef"]["name"].as_str().unwrap());
            assert_eq!(role["metadata"]["namespace"], binding["metadata"]["namespace"]);
            let subjects = binding["subjects"].as_array().unwrap();
            assert_eq!(subjects.len(), 1);
            assert_eq!(subjects[0]["kind"], "ServiceAccount");
            assert_eq!(subjects[0]["name"], "own");
            assert_eq!(subjects[0]["namespace"], NAMESPACE);
        }
    }
}
