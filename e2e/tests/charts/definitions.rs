//! The chart of the definitions.

use std::fs;

use granary_e2e::paths;
use serde_json::{Value, json};

use crate::helm::{Helm, names, objects};

/// What the chart must render: the generated files, and the one annotation.
fn wanted() -> Vec<Value> {
    let folder = paths::repository().join("crds/yaml");
    ["cachemirrors", "replicationpolicies"]
        .iter()
        .map(|name| {
            let text = fs::read_to_string(folder.join(format!("{name}.granary.dev.yaml"))).unwrap();
            let mut definition = objects(&text).remove(0);
            definition["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
            definition
        })
        .collect()
}

/// The first place where two values differ. Helm writes a whole number that has a point, such as 16.0, without it.
fn difference(left: &Value, right: &Value, path: &str) -> Option<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            names.find_map(|name| difference(&left[name], &right[name], &format!("{path}.{name}")))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let mut pairs = a.iter().zip(b).enumerate();
            pairs.find_map(|(index, (a, b))| difference(a, b, &format!("{path}[{index}]")))
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ => (left != right).then(|| format!("{path}: {left} is not {right}")),
    }
}

#[test]
fn a_difference_is_found_where_it_is() {
    let (left, right) = (json!({"a": [1, {"b": 2.0}]}), json!({"a": [1, {"b": 2, "c": 3}]}));
    assert_eq!(difference(&left, &left, ""), None);
    assert_eq!(difference(&left, &right, "").as_deref(), Some(".a[1].c: null is not 3"));
    assert_eq!(difference(&right, &left, "").as_deref(), Some(".a[1].c: 3 is not null"));
    assert!(difference(&json!([1]), &json!([1, 2]), "").is_some());
}

#[test]
fn the_chart_renders_the_generated_definitions_and_helm_keeps_them() {
    let Some(helm) = Helm::find() else { return };
    let rendered = objects(&helm.run(&["template", "any", "granary-crds"]).unwrap());
    assert_eq!(difference(&rendered.into(), &wanted().into(), ""), None);
}

#[test]
fn a_package_carries_the_definitions_though_the_chart_only_links_to_them() {
    let Some(helm) = Helm::find() else { return };
    let folder = helm.scratch();
    helm.run(&["package", "granary-crds", "--destination", &folder]).unwrap();
    let package = format!("{folder}/granary-crds-0.1.0.tgz");
    let rendered = objects(&helm.run(&["template", "any", &package]).unwrap());
    assert_eq!(difference(&rendered.into(), &wanted().into(), ""), None);
}

#[test]
fn the_operators_chart_has_no_definitions() {
    let Some(helm) = Helm::find() else { return };
    let found = names(&helm.operator(&[]));
    assert!(found.iter().all(|name| !name.starts_with("CustomResourceDefinition")), "{found:?}");
}

#[test]
fn it_takes_no_values() {
    let Some(helm) = Helm::find() else { return };
    let complaint = helm.run(&["template", "any", "granary-crds", "--set", "keep=false"]).unwrap_err();
    assert!(complaint.contains("'keep' not allowed"), "{complaint}");
}
