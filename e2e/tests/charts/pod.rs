//! The operator's pod: the `restricted` Pod Security Standard, and what it is told by its environment.

use serde_json::{Value, json};

use crate::helm::{Helm, object};
use crate::render::env;

fn pod(objects: &[Value]) -> &Value {
    &object(objects, "Deployment", "granary-operator")["spec"]["template"]["spec"]
}

/// Field by field what the standard asks for, and a file system that cannot be written, which it does not.
#[test]
fn it_meets_the_restricted_standard() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&[]);
    let pod = pod(&objects);
    for field in ["hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers", "ephemeralContainers"] {
        assert!(pod[field].is_null(), "{field}");
    }
    assert_eq!(
        pod["securityContext"],
        json!({
            "runAsNonRoot": true, "runAsUser": 64532, "runAsGroup": 64532,
            "seccompProfile": {"type": "RuntimeDefault"},
        })
    );
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    for container in containers {
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            })
        );
        for port in container["ports"].as_array().unwrap() {
            assert!(port["hostPort"].is_null());
        }
        assert!(container["resources"]["requests"]["memory"].is_string());
        assert!(container["resources"]["limits"]["memory"].is_string());
    }
}

#[test]
fn it_is_told_who_it_is_and_where_the_map_is() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&[]);
    let deployment = object(&objects, "Deployment", "granary-operator");
    let field = |name| env(deployment, name)["valueFrom"]["fieldRef"]["fieldPath"].clone();
    assert_eq!(field("POD_NAME"), "metadata.name");
    assert_eq!(field("POD_NAMESPACE"), "metadata.namespace");
    let value = |name| env(deployment, name)["value"].clone();
    assert_eq!(value("GRANARY_LISTEN"), "[::]:8080");
    assert_eq!(value("GRANARY_MAP_URL"), "http://granary-operator.granary-system.svc:8080");
    assert_eq!(value("RUST_LOG"), "info");
}

/// Two replicas on one node would be lost together.
#[test]
fn replicas_avoid_each_others_nodes_unless_told_otherwise() {
    let Some(helm) = Helm::find() else { return };
    let objects = helm.operator(&[]);
    let rule = &pod(&objects)["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
        [0]["podAffinityTerm"];
    assert_eq!(rule["topologyKey"], "kubernetes.io/hostname");
    assert_eq!(rule["labelSelector"]["matchLabels"]["app.kubernetes.io/name"], "granary-operator");
    let own = helm.operator(&["--set-json", r#"affinity={"nodeAffinity": {}}"#]);
    assert_eq!(pod(&own)["affinity"], json!({"nodeAffinity": {}}));
}
