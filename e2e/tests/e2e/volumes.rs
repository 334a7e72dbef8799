//! Mirrors on volumes that the cluster provides: static local volumes with delayed binding, which is what bare metal has.

use std::fs;

use anyhow::{Context, Result, ensure};
use granary_e2e::nix_client;
use granary_e2e::wait::wait_for;
use serde_json::{Value, json};

use crate::case::{Space, cases};
use crate::farm::{Farm, NIX, SYNC, TOLD, hash_part, policy, root};

cases![replicas_on_volumes_are_mirrors_of_their_own_and_keep_their_copies];

const NAME: &str = "vault";

async fn replicas_on_volumes_are_mirrors_of_their_own_and_keep_their_copies(space: &Space<'_>) -> Result<()> {
    let farm = Farm::prepare(space, "zstd").await?;
    // On a volume, a mirror needs nothing that the strictest standard forbids.
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    space.cluster.kubectl(&["label", "namespace", &space.namespace, restricted]).await?;
    let volumes = volumes(space)?;
    for volume in &volumes {
        space.cluster.apply(&volume.to_string()).await?;
    }
    let outcome = on_volumes(space, &farm).await;
    // Volumes belong to no namespace, so nobody else removes them.
    for volume in &volumes {
        let (kind, name) = (text(volume, "/kind")?, text(volume, "/metadata/name")?);
        space.cluster.kubectl(&["delete", kind, name, "--wait=false"]).await?;
    }
    outcome
}

async fn on_volumes(space: &Space<'_>, farm: &Farm<'_>) -> Result<()> {
    let mirror = cache_mirror(space, farm);
    space.apply(&mirror.to_string()).await?;
    let less = root("less")?;
    space.apply(&policy("tools", std::slice::from_ref(&less), 2).to_string()).await?;
    farm.satisfied("tools").await?;

    let status = replicas_with_disks(space).await?;
    let replicas = status.as_array().context("the status names no replicas")?;
    assert_eq!(replicas.len(), 2, "{status}");
    assert_ne!(replicas[0]["zone"], replicas[1]["zone"], "both in one zone: {status}");
    assert_ne!(replicas[0]["disk"], replicas[1]["disk"], "two replicas with one disk: {status}");

    wait_for("the other replica to be named", TOLD, async || {
        let line = narinfo(space, 0, &less).await?;
        ensure!(line.contains("Mirrors: http://1.vault.test\n"), "it is not:\n{line}");
        Ok(())
    })
    .await?;
    for ordinal in 0..2 {
        let url = address(space, ordinal, 8080).await?;
        nix_client::substitute(&url, std::slice::from_ref(&less), &farm.key).await?;
    }

    // The claims outlive the CacheMirror, and with them the copies.
    let downloads = || -> Result<usize> {
        Ok(farm.upstream.requests()?.iter().filter(|line| line.contains("/nar/")).count())
    };
    let downloaded = downloads()?;
    space.kubectl(&["delete", "cachemirror", NAME]).await?;
    wait_for("the pods to be gone", SYNC, async || {
        let pods = space.get(&["pods"]).await?;
        ensure!(pods["items"].as_array().is_some_and(Vec::is_empty), "there are still pods");
        Ok(())
    })
    .await?;
    space.apply(&mirror.to_string()).await?;
    farm.satisfied("tools").await?;
    let again = replicas_with_disks(space).await?;
    for ordinal in 0..2 {
        assert_eq!(again[ordinal]["disk"], status[ordinal]["disk"], "another disk: {again}");
    }
    assert_eq!(downloads()?, downloaded, "something was downloaded again");
    Ok(())
}

/// The replicas in the status, as soon as it names the disk of each: it follows the reports by a few seconds.
async fn replicas_with_disks(space: &Space<'_>) -> Result<Value> {
    wait_for("a status that names every disk", TOLD, async || {
        let mirrors = space.get(&["cachemirror", NAME]).await?["status"]["mirrors"].clone();
        let named = mirrors.as_array().is_some_and(|all| all.iter().all(|mirror| mirror["disk"].is_string()));
        ensure!(named, "{mirrors}");
        Ok(mirrors)
    })
    .await
}

fn cache_mirror(space: &Space<'_>, farm: &Farm<'_>) -> Value {
    json!({
        "apiVersion": "granary.dev/v1alpha1",
        "kind": "CacheMirror",
        "metadata": {"name": NAME, "labels": {"farm": "yes"}},
        "spec": {
            "url": "http://{ordinal}.vault.test",
            "upstreams": [{"url": farm.upstream.url(), "publicKeys": [farm.key]}],
            "replicas": 2,
            "storage": {"filesystem": {"volumeClaim": {"storageClassName": space.namespace, "size": "1Gi"}}},
        },
    })
}

/// A storage class without a provisioner, and a local volume on each of two nodes.
fn volumes(space: &Space<'_>) -> Result<Vec<Value>> {
    let class = &space.namespace;
    let mut objects = vec![json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": class},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    })];
    for node in space.cluster.nodes().iter().take(2) {
        let path = space.scratch()?.join(format!("volume-{}", node.name));
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]});
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": format!("{class}-{}", node.name)},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": class,
                "local": {"path": path},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            },
        }));
    }
    Ok(objects)
}

async fn narinfo(space: &Space<'_>, ordinal: usize, store_path: &str) -> Result<String> {
    let url = format!("{}/{}.narinfo", address(space, ordinal, 8080).await?, hash_part(store_path)?);
    Ok(space.cluster.fetch(&url, &[("User-Agent", NIX)]).await?.text()?.to_owned())
}

/// A port of a replica's pod.
async fn address(space: &Space<'_>, ordinal: usize, port: u16) -> Result<String> {
    let pod = space.get(&["pod", &format!("{NAME}-{ordinal}-0")]).await?;
    Ok(format!("http://{}:{port}", text(&pod, "/status/podIP")?))
}

fn text<'v>(object: &'v Value, pointer: &str) -> Result<&'v str> {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .with_context(|| format!("there is no {pointer} in {object}"))
}
