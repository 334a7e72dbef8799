//! The objects of the operator's chart, and how they fit together.

use serde_json::Value;

use crate::helm::{Helm, NAMESPACE, names, object, objects};

/// Values that turn everything on, or off.
const VARIANTS: &[&[&str]] = &[
    &[],
    &["--set", "watchNamespace=mirrors"],
    &["--set", "replicas=1,networkPolicy.enabled=false,podDisruptionBudget.enabled=false"],
    &[
        "--set",
        "imagePullSecrets[0].name=registry,serviceAccount.name=own,serviceAccount.annotations.a=b",
        "--set",
        "podAnnotations.a=b,nodeSelector.disk=large,tolerations[0].operator=Exists",
        "--set-json",
        r#"affinity={"nodeAffinity": {}}"#,
    ],
];

#[test]
fn both_charts_pass_the_strict_linter() {
    let Some(helm) = Helm::find() else { return };
    for chart in ["granary", "granary-crds"] {
        helm.run(&["lint", "--strict", chart]).unwrap();
    }
}

#[test]
fn every_object_is_whole_and_in_its_place() {
    let Some(helm) = Helm::find() else { return };
    for variant in VARIANTS {
        for object in helm.operator(variant) {
            let kind = object["kind"].as_str().unwrap();
            assert!(object["apiVersion"].is_string(), "{object}");
            assert_eq!(object["metadata"]["labels"]["app.kubernetes.io/managed-by"], "Helm", "{object}");
            let namespace = object["metadata"]["namespace"].as_str();
            match kind {
                "ClusterRole" | "ClusterRoleBinding" => assert_eq!(namespace, None),
                "Role" | "RoleBinding" => assert!([Some(NAMESPACE), Some("mirrors")].contains(&namespace)),
                _ => assert_eq!(namespace, Some(NAMESPACE), "{object}"),
            }
        }
    }
}

#[test]
fn exactly_these_objects() {
    let Some(helm) = Helm::find() else { return };
    let expected = [
        "ClusterRole granary-operator",
        "ClusterRoleBinding granary-operator",
        "Deployment granary-operator",
        "NetworkPolicy granary-operator",
        "PodDisruptionBudget granary-operator",
        "Role granary-operator-election",
        "RoleBinding granary-operator-election",
        "Service granary-operator",
        "ServiceAccount granary-operator",
    ];
    assert_eq!(names(&helm.operator(&[])), expected);
    // With one replica a budget would only block the drain of its node.
    let single = names(&helm.operator(&["--set", "replicas=1,networkPolicy.enabled=false"]));
    let fewer: Vec<_> =
        expected.iter().filter(|name| !name.contains("Policy") && !name.contains("Budget")).collect();
    assert_eq!(single.iter().collect::<Vec<_>>(), fewer);
}

#[test]
fn names_stay_within_63_characters() {
    let Some(helm) = Helm::find() else { return };
    for release in ["g".repeat(53), format!("granary-{}", "g".repeat(45)), format!("{}-x", "g".repeat(45))] {
        let objects = helm.release(&release, &[]);
        let service = objects.iter().find(|object| object["kind"] == "Service").unwrap();
        let name = service["metadata"]["name"].as_str().unwrap();
        assert!(name.len() <= 63 && name.ends_with("operator") && !name.contains("--"), "{name}");
        let map = env(object(&objects, "Deployment", name), "GRANARY_MAP_URL");
        assert_eq!(map["value"], format!("http://{name}.{NAMESPACE}.svc:8080"));
    }
}

#[test]
fn selectors_select_the_pods() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&[]);
    let get = |kind| object(&objects, kind, "granary-operator");
    let pod = &get("Deployment")["spec"]["template"];
    let selectors = [
        &get("Deployment")["spec"]["selector"]["matchLabels"],
        &get("Service")["spec"]["selector"],
        &get("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        &get("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ];
    for selector in selectors {
        let selector = selector.as_object().unwrap();
        // Nothing that a new version changes: a selector cannot be changed.
        assert_eq!(
            selector.keys().collect::<Vec<_>>(),
            ["app.kubernetes.io/instance", "app.kubernetes.io/name"]
        );
        for (label, value) in selector {
            assert_eq!(&pod["metadata"]["labels"][label], value);
        }
    }
    assert_eq!(pod["spec"]["serviceAccountName"], get("ServiceAccount")["metadata"]["name"]);
    // One port of the pod, which the Service, the probes and the network policy call by its name.
    let port = &pod["spec"]["containers"][0]["ports"][0]["name"];
    assert_eq!(port, &get("Service")["spec"]["ports"][0]["targetPort"]);
    assert_eq!(port, &get("NetworkPolicy")["spec"]["ingress"][0]["ports"][0]["port"]);
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(port, &pod["spec"]["containers"][0][probe]["httpGet"]["port"], "{probe}");
    }
    assert_eq!(get("Service")["spec"]["publishNotReadyAddresses"], true);
}

#[test]
fn documents_without_an_object_are_no_objects_and_a_doubled_key_is_an_error() {
    assert_eq!(objects("---\n# nothing\n---\na: 1\n").len(), 1);
    assert!(std::panic::catch_unwind(|| objects("a: 1\na: 2\n")).is_err());
}

/// A variable of the operator's container.
pub fn env<'a>(deployment: &'a Value, name: &str) -> &'a Value {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let mut variables = container["env"].as_array().unwrap().iter();
    variables.find(|variable| variable["name"] == name).unwrap_or(&Value::Null)
}
