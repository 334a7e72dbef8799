//! Objects that the operator cannot read: stored when a definition allowed more, or by another version. They are told about,
//! and all others are looked after, also by an operator that finds them when it starts.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use granary_e2e::wait::wait_for;
use serde_json::{Value, json};

use crate::case::{Space, cases};
use crate::farm::{self, Farm, TOLD, root};
use crate::world::OPERATOR;

cases![
    #[alone]
    an_unreadable_object_is_told_and_stops_nothing_else
];

async fn an_unreadable_object_is_told_and_stops_nothing_else(space: &Space<'_>) -> Result<()> {
    let farm = Farm::prepare(space, "zstd").await?;
    store(space, "CacheMirror", "cachemirrors", &json!({"storage": "large", "upstreams": 7})).await?;
    store(space, "ReplicationPolicy", "replicationpolicies", &json!({"copies": "many"})).await?;
    // One that the API server takes, and for which no pod is started: no node has the label.
    let look_after = async |name: &'static str| {
        let mut mirror = farm.cache_mirror(&farm.sites[0]);
        mirror["metadata"] = json!({"name": name});
        mirror["spec"]["nodes"]["selector"] = json!({"kubernetes.io/hostname": "nowhere"});
        space.apply(&mirror.to_string()).await?;
        space.apply(&farm::policy(name, &[root("less")?], 1).to_string()).await?;
        space.condition("cachemirror", name, "Assigned", "False", TOLD).await?;
        space.condition("replicationpolicy", name, "Accepted", "False", TOLD).await?;
        Ok::<_, anyhow::Error>(())
    };
    look_after("before").await?;
    for (kind, condition) in [("cachemirror", "Ready"), ("replicationpolicy", "Accepted")] {
        let said = space.condition(kind, BROKEN, condition, "False", TOLD).await?;
        ensure!(said.contains("cannot be read"), "{kind}: {said}");
    }
    is_counted(space).await?;

    space.world.scale_operator(0).await?;
    let scaled = space.world.scale_operator(2).await;
    scaled.context("an operator that finds such an object does not start")?;
    look_after("after").await?;
    // It goes like any other.
    space.kubectl(&["delete", "cachemirror,replicationpolicy", BROKEN, "--timeout=150s"]).await?;
    Ok(())
}

const BROKEN: &str = "broken";

/// Writes an object past the API server, which would not take it: etcd has each as JSON under its path.
async fn store(space: &Space<'_>, kind: &str, resource: &str, spec: &Value) -> Result<()> {
    let key = format!("/registry/granary.dev/{resource}/{}/{BROKEN}", space.namespace);
    let object = json!({
        "apiVersion": "granary.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "name": BROKEN,
            "namespace": space.namespace,
            "uid": format!("00000000-0000-4000-8000-{:012}", kind.len()),
            "generation": 1,
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": spec,
    });
    let put = json!({"key": STANDARD.encode(key), "value": STANDARD.encode(object.to_string())});
    let client = reqwest::Client::new();
    let request = client.post("http://127.0.0.1:2379/v3/kv/put").body(put.to_string());
    let answer = request.send().await.context("etcd does not answer")?;
    ensure!(answer.status().is_success(), "etcd: {}", answer.status());
    // The test would show nothing if the API server hid it.
    let stored = space.get(&[resource, BROKEN]).await?;
    let fields = spec.as_object().context("a spec has fields")?;
    ensure!(fields.iter().all(|(name, value)| stored["spec"][name] == *value), "{stored}");
    Ok(())
}

/// The replica that leads counts it as an error of its kind.
async fn is_counted(space: &Space<'_>) -> Result<()> {
    let pods =
        space.cluster.get(&["-n", OPERATOR, "pods", "-l", "app.kubernetes.io/component=operator"]).await?;
    let pods = pods["items"].as_array().context("no pods")?.clone();
    wait_for("the operators' metrics", TOLD, async || {
        let mut seen = String::new();
        for pod in &pods {
            let address = pod["status"]["podIP"].as_str().context("a pod without an address")?;
            seen += &space.cluster.fetch_text(&format!("http://{address}:8080/metrics")).await?;
        }
        let counted = |line: &&str| {
            line.starts_with("granary_operator_errors_total{")
                && (line.contains("\"unreadable\"") || line.contains("\"invalid\""))
                && !line.ends_with(" 0")
        };
        let lines: Vec<&str> = seen.lines().filter(counted).collect();
        ensure!(lines.len() == 2, "counted: {lines:?}");
        Ok(())
    })
    .await
}
