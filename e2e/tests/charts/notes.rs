//! What Helm tells after an installation: its examples must be objects of the kinds that are installed.

use serde_json::Value;

use crate::helm::{Helm, objects};

/// The objects between `kubectl apply -f - <<EOF` and `EOF`.
fn examples(helm: &Helm, args: &[&str]) -> Vec<Value> {
    let install = ["install", "granary", "granary", "--dry-run=client", "--namespace", "granary-system"];
    let text = helm.run(&[install.as_slice(), args].concat()).unwrap();
    let (_, notes) = text.split_once("\nNOTES:\n").unwrap();
    let (_, rest) = notes.split_once("<<EOF\n").unwrap();
    let (yaml, _) = rest.split_once("\n  EOF").unwrap();
    let lines: Vec<_> = yaml.lines().map(|line| line.strip_prefix("  ").unwrap()).collect();
    objects(&lines.join("\n"))
}

/// What a value has that its schema does not know, and what it lacks that its schema requires.
fn faults(schema: &Value, value: &Value, path: &str, found: &mut Vec<String>) {
    let kind = match value {
        Value::Object(_) => "object",
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::Null => "null",
    };
    if schema["type"] != kind {
        found.push(format!("{path} is no {}", schema["type"]));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value[name.as_str().unwrap()].is_null() {
            found.push(format!("{path} lacks {name}"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name).or_else(|| schema.get("additionalProperties"));
        match known {
            Some(schema) => faults(schema, field, &format!("{path}.{name}"), found),
            None => found.push(format!("{path}.{name} is unknown")),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        faults(&schema["items"], item, &format!("{path}[]"), found);
    }
}

#[test]
fn the_examples_are_valid() {
    let Some(helm) = Helm::find() else { return };
    let definitions = objects(&helm.run(&["template", "any", "granary-crds"]).unwrap());
    for (args, namespace) in [(&[][..], "default"), (&["--set", "watchNamespace=mirrors"], "mirrors")] {
        let examples = examples(&helm, args);
        let kinds: Vec<_> = examples.iter().map(|example| example["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["CacheMirror", "ReplicationPolicy"]);
        for (example, kind) in examples.iter().zip(kinds) {
            assert_eq!(example["metadata"]["namespace"], namespace);
            let mut of_kind = definitions.iter().filter(|one| one["spec"]["names"]["kind"] == kind);
            let version = &of_kind.next().unwrap()["spec"]["versions"][0];
            assert_eq!(example["apiVersion"], format!("granary.dev/{}", version["name"].as_str().unwrap()));
            let schema = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let mut found = Vec::new();
            faults(schema, &example["spec"], "spec", &mut found);
            assert!(found.is_empty(), "{kind}: {found:?}");
        }
        let labels = &examples[0]["metadata"]["labels"];
        assert_eq!(&examples[1]["spec"]["mirrors"]["matchLabels"], labels, "the policy selects no mirror");
    }
}

#[test]
fn a_fault_in_an_example_would_be_seen() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"],
        "properties": {"a": {"type": "array", "items": {"type": "string"}}},
    });
    let mut found = Vec::new();
    faults(&schema, &serde_json::json!({"b": 1}), "spec", &mut found);
    faults(&schema, &serde_json::json!({"a": [1]}), "spec", &mut found);
    assert_eq!(found, ["spec lacks \"a\"", "spec.b is unknown", "spec.a[] is no \"string\""]);
}
