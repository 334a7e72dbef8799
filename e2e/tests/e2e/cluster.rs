//! The harness itself: what other tests build on works, and its faults are felt.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use granary_e2e::upstream::Upstream;
use granary_e2e::wait::wait_for;
use granary_e2e::{nix_client, paths};

use crate::case::{Space, cases};
use crate::{farm, probe};

cases![
    nodes_stand_where_they_should,
    pods_run_on_every_node_and_are_reached,
    #[alone]
    a_node_that_is_cut_off_is_noticed_and_comes_back,
    #[alone]
    a_paused_node_is_noticed_and_goes_on,
    #[alone]
    a_crashed_node_loses_its_pods_and_gets_them_back,
    a_lost_disk_is_empty,
    an_upstream_stops_and_falls_silent,
    nix_takes_what_is_signed_by_the_key_it_trusts_and_nothing_else,
];

/// It is noticed after 16 s without a heartbeat, looked at every 2 s; on a machine that has much to do, later.
const NOTICED: Duration = Duration::from_mins(2);
const SOON: Duration = Duration::from_mins(3);

async fn nodes_stand_where_they_should(space: &Space<'_>) -> Result<()> {
    for node in space.cluster.nodes() {
        let object = space.cluster.get(&["node", &node.name]).await?;
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["topology.kubernetes.io/region"], node.region.as_str());
        assert_eq!(labels["topology.kubernetes.io/zone"], node.zone.as_str());
    }
    Ok(())
}

async fn pods_run_on_every_node_and_are_reached(space: &Space<'_>) -> Result<()> {
    web(space).await?;
    for node in space.cluster.nodes() {
        let url = format!("http://{}:{}/", space.cluster.address(&node.name)?, space.port);
        assert_eq!(space.cluster.fetch_text(&url).await?.trim(), node.name, "host port of {url}");
    }
    let pod = pod_on(space, "n1").await?;
    // By its short name, so through the search path, the cluster's DNS and kube-proxy.
    let answer = exec(space, &pod, "busybox wget -q -O - http://web").await?;
    assert!(["n1", "n2", "n3"].contains(&answer.trim()), "{answer}");
    wait_for("the log of a pod", SOON, async || {
        let log = space.kubectl(&["logs", &pod]).await?;
        ensure!(log.contains("serving on n1"), "{log}");
        Ok(())
    })
    .await?;
    let limit = exec(space, &pod, "busybox cat /proc/self/cgroup").await?;
    assert!(limit.contains("kubepods"), "the pod is in no cgroup of the kubelet: {limit}");
    Ok(())
}

async fn a_node_that_is_cut_off_is_noticed_and_comes_back(space: &Space<'_>) -> Result<()> {
    web(space).await?;
    let url = format!("http://{}:{}/", space.cluster.address("n2")?, space.port);
    space.cluster.cut_off("n2").await?;
    assert!(space.cluster.fetch(&url, &[]).await.is_err(), "a node without a cable answered");
    space.cluster.wait_not_ready("n2", NOTICED).await?;
    space.cluster.let_in("n2").await?;
    space.cluster.wait_ready("n2", SOON).await?;
    reached(space, &url, "n2").await
}

async fn a_paused_node_is_noticed_and_goes_on(space: &Space<'_>) -> Result<()> {
    web(space).await?;
    let url = format!("http://{}:{}/", space.cluster.address("n3")?, space.port);
    let before = pod_on(space, "n3").await?;
    space.cluster.pause("n3")?;
    let silent = tokio::time::timeout(Duration::from_secs(2), space.cluster.fetch(&url, &[])).await;
    assert!(silent.is_err(), "a paused node answered: {silent:?}");
    space.cluster.wait_not_ready("n3", NOTICED).await?;
    space.cluster.resume("n3")?;
    space.cluster.wait_ready("n3", SOON).await?;
    reached(space, &url, "n3").await?;
    assert_eq!(pod_on(space, "n3").await?, before, "a pause must not replace the pod");
    Ok(())
}

async fn a_crashed_node_loses_its_pods_and_gets_them_back(space: &Space<'_>) -> Result<()> {
    web(space).await?;
    let url = format!("http://{}:{}/", space.cluster.address("n1")?, space.port);
    space.cluster.crash("n1").await?;
    assert!(space.cluster.fetch(&url, &[]).await.is_err(), "a dead node answered");
    space.cluster.wait_not_ready("n1", NOTICED).await?;
    space.cluster.restart("n1").await?;
    space.cluster.wait_ready("n1", SOON).await?;
    reached(space, &url, "n1").await
}

async fn a_lost_disk_is_empty(space: &Space<'_>) -> Result<()> {
    let disk = space.scratch()?.join("disk");
    fs::create_dir_all(disk.join("folder"))?;
    fs::write(disk.join("folder/file"), "x")?;
    space.cluster.lose_disk(&disk)?;
    assert_eq!(fs::read_dir(&disk)?.count(), 0);
    let outside = tempfile::tempdir()?;
    fs::write(outside.path().join("precious"), "x")?;
    assert!(space.cluster.lose_disk(outside.path()).is_err(), "a folder outside the run was emptied");
    assert!(outside.path().join("precious").exists());
    Ok(())
}

async fn an_upstream_stops_and_falls_silent(space: &Space<'_>) -> Result<()> {
    let dir = space.scratch()?.join("cache");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("nix-cache-info"), "StoreDir: /nix/store\n")?;
    let upstream = Upstream::start(&dir, space.port, &space.scratch()?.join("upstream"))?;
    let url = format!("{}/nix-cache-info", upstream.url());
    let answers = async || space.cluster.fetch_text(&url).await;
    wait_for("nginx to listen", SOON, answers).await?;
    upstream.pause()?;
    let silent = tokio::time::timeout(Duration::from_secs(1), space.cluster.fetch(&url, &[])).await;
    assert!(silent.is_err(), "a silent upstream answered: {silent:?}");
    upstream.resume()?;
    answers().await?;
    upstream.stop()?;
    assert!(space.cluster.fetch(&url, &[]).await.is_err(), "a stopped upstream answered");
    upstream.start_again()?;
    wait_for("nginx to listen again", SOON, answers).await?;
    let requests = upstream.requests()?;
    assert!(requests.iter().any(|line| line.starts_with("GET /nix-cache-info 200")), "{requests:?}");
    Ok(())
}

async fn nix_takes_what_is_signed_by_the_key_it_trusts_and_nothing_else(space: &Space<'_>) -> Result<()> {
    let corpus = paths::corpus()?;
    let upstream = Upstream::start(&corpus.join("cache-xz"), space.port, &space.scratch()?.join("upstream"))?;
    let info = format!("{}/nix-cache-info", upstream.url());
    wait_for("nginx to listen", SOON, async || space.cluster.fetch_text(&info).await).await?;
    let key = fs::read_to_string(corpus.join("key.pub"))?;
    let path = [farm::root("less")?];
    nix_client::substitute(upstream.url(), &path, key.trim()).await?;
    // The same name, another key.
    let (name, _) = key.split_once(':').context("not a key")?;
    let other = format!("{name}:{}=", "A".repeat(43));
    let refused = nix_client::substitute(upstream.url(), &path, &other).await;
    let reason = format!("{:#}", refused.err().context("nix took what an unknown key signed")?);
    assert!(reason.contains("not signed by any of the keys"), "{reason}");
    Ok(())
}

/// A web server on every node, which answers with the node's name.
async fn web(space: &Space<'_>) -> Result<()> {
    let yaml = format!(
        r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: web
        image: {image}
        imagePullPolicy: IfNotPresent
        command: [busybox, sh, -c, "echo $NODE > /www/index.html; echo serving on $NODE; exec busybox httpd -f -p 8080 -h /www"]
        env: [{{name: NODE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}]
        ports: [{{containerPort: 8080, hostPort: {port}}}]
        readinessProbe: {{httpGet: {{port: 8080}}, periodSeconds: 1}}
        resources: {{limits: {{memory: 32Mi}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"#,
        image = probe::IMAGE,
        port = space.port
    );
    space.apply(&yaml).await?;
    space.kubectl(&["rollout", "status", "daemonset/web", "--timeout=150s"]).await?;
    Ok(())
}

async fn reached(space: &Space<'_>, url: &str, node: &str) -> Result<()> {
    wait_for(&format!("the pod on {node} to answer"), SOON, async || {
        let answer = space.cluster.fetch_text(url).await?;
        ensure!(answer.trim() == node, "{answer}");
        Ok(())
    })
    .await
}

async fn pod_on(space: &Space<'_>, node: &str) -> Result<String> {
    let pods =
        space.get(&["pods", "-l", "app=web", "--field-selector", &format!("spec.nodeName={node}")]).await?;
    let name = pods["items"][0]["metadata"]["name"].as_str();
    name.map(Into::into).with_context(|| format!("no pod on {node}"))
}

async fn exec(space: &Space<'_>, pod: &str, line: &str) -> Result<String> {
    let words: Vec<&str> = line.split(' ').collect();
    space.cluster.exec(&space.namespace, pod, "web", &words).await
}
