//! The story, step by step.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use granary_e2e::cluster::Cluster;
use granary_e2e::nix_client;

use crate::existing::Tunnel;
use crate::look;
use crate::narrator::{Narrator, block};
use crate::objects;
use crate::stage::{ImageName, NAMESPACE, OPERATOR, POLICY, Site, Stage};

/// Copies of the closure: the upstream may be far away.
const SYNC: Duration = Duration::from_mins(10);

/// A status has to tell a lost node within this.
const TOLD: Duration = Duration::from_mins(1);

/// Everything else.
const SOON: Duration = Duration::from_mins(3);

/// Tells all of it. Only a cluster of our own has a node to cut off.
pub async fn tell(say: &Narrator, stage: &mut Stage, cluster: Option<&Cluster>) -> Result<()> {
    let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
    install(say, stage).await?;
    declare(say, stage).await?;
    let _tunnels = reach(stage).await?;
    converge(say, stage).await?;
    mirrors_lines(say, stage, &http).await?;
    substitute(
        say,
        stage,
        &[0],
        "the whole closure from one mirror; what it does not hold it gets from the others",
    )
    .await?;
    if let Some(cluster) = cluster {
        lose_a_node(say, stage, cluster).await?;
    }
    verify(say, stage).await
}

async fn install(say: &Narrator, stage: &Stage) -> Result<()> {
    say.step("The operator, by its Helm charts", "helm install is all there is to installing Granary");
    let chart = |name: &str| stage.charts.join(name).to_string_lossy().into_owned();
    let install = ["upgrade", "--install", "--create-namespace", "--namespace", OPERATOR];
    stage.kube.helm(&[&install[..], &["granary-crds", &chart("granary-crds")]].concat()).await?;
    let set =
        |key: &str, name: &ImageName| format!("{key}.repository={},{key}.tag={}", name.repository, name.tag);
    let (operator, mirror) = (set("image", &stage.operator_image), set("mirrorImage", &stage.mirror_image));
    let values = ["--set", operator.as_str(), "--set", mirror.as_str()];
    stage.kube.helm(&[&install[..], &["granary", &chart("granary")], &values[..]].concat()).await?;
    say.note("charts granary-crds and granary installed; waiting for the operator's two replicas");
    let rollout = ["-n", OPERATOR, "rollout", "status", "deployment/granary-operator", "--timeout=180s"];
    stage.kube.kubectl(&rollout).await?;
    block(&stage.kube.kubectl(&["-n", OPERATOR, "get", "pods", "-o", "wide"]).await?);
    Ok(())
}

async fn declare(say: &Narrator, stage: &Stage) -> Result<()> {
    say.step(
        "Three CacheMirrors and a ReplicationPolicy",
        "where mirrors run and what is kept how safely is said in two kinds of objects",
    );
    if stage.kube.kubectl(&["get", "namespace", NAMESPACE]).await.is_err() {
        stage.kube.kubectl(&["create", "namespace", NAMESPACE]).await?;
    }
    for site in &stage.sites {
        let yaml = objects::cache_mirror(site, &stage.source);
        if site.name == stage.sites[0].name {
            block(&yaml);
        }
        stage.kube.apply(NAMESPACE, &yaml).await?;
    }
    let policy = objects::policy(&stage.source);
    block(&policy);
    stage.kube.apply(NAMESPACE, &policy).await?;
    Ok(())
}

/// Opens ways to the sites that cannot be reached directly.
async fn reach(stage: &mut Stage) -> Result<Vec<Tunnel>> {
    let mut tunnels = Vec::new();
    for site in stage.sites.iter_mut().filter(|site| site.reach.is_empty()) {
        let pod = format!("pod/{}-0-0", site.name);
        let ready = ["-n", NAMESPACE, "wait", "--for=condition=Ready", &pod, "--timeout=10s"];
        let open = async || {
            stage.kube.kubectl(&ready).await?;
            Tunnel::open(&stage.kube, site.name).await
        };
        let tunnel = granary_e2e::wait::wait_for(&pod, SOON, open).await?;
        site.reach.clone_from(&tunnel.url);
        tunnels.push(tunnel);
    }
    Ok(tunnels)
}

async fn converge(say: &Narrator, stage: &Stage) -> Result<()> {
    say.step(
        "Every artifact on two mirrors in two zones",
        "signature, FileHash, NarHash, sizes and references are checked before a copy counts or is served",
    );
    satisfied(say, stage, SYNC).await?;
    show(stage).await?;
    let trees: Vec<&Path> = stage.sites.iter().filter_map(|site| site.tree.as_deref()).collect();
    if !trees.is_empty() {
        let copies = look::copies(&trees)?;
        let fewest = copies.values().min().copied().unwrap_or(0);
        ensure!(fewest >= 2, "an artifact has {fewest} copies: {copies:?}");
        say.note(&format!(
            "counted on the disks: {} artifacts, each in at least {fewest} trees",
            copies.len()
        ));
    }
    Ok(())
}

/// Waits until the policy and every mirror say that all is well.
async fn satisfied(say: &Narrator, stage: &Stage, limit: Duration) -> Result<()> {
    let began = Instant::now();
    say.wait("the policy to be satisfied", limit, async || {
        let policy = stage.kube.get(&["-n", NAMESPACE, "replicationpolicy", POLICY]).await?;
        let status = &policy["status"];
        let (holds, message) = look::condition(&policy, "Satisfied");
        if holds != "True" {
            bail!("{} of {} copies: {message}", status["copiesTotal"], status["copiesWanted"]);
        }
        for site in &stage.sites {
            let mirror = stage.kube.get(&["-n", NAMESPACE, "cachemirror", site.name]).await?;
            ensure!(mirror["status"]["phase"] == "Ready", "{} is {}", site.name, mirror["status"]["phase"]);
        }
        Ok(())
    })
    .await?;
    say.note(&format!("satisfied after {:.1} s", began.elapsed().as_secs_f64()));
    Ok(())
}

async fn show(stage: &Stage) -> Result<()> {
    // Helm and kubectl of the user's own may know other kinds by these short names; the full ones are plain.
    let table = stage.kube.kubectl(&["-n", NAMESPACE, "get", "cachemirrors,replicationpolicies"]).await?;
    block(&format!("$ kubectl -n {NAMESPACE} get cmir,rpol\n{table}"));
    Ok(())
}

async fn mirrors_lines(say: &Narrator, stage: &Stage, http: &reqwest::Client) -> Result<()> {
    say.step(
        "Narinfos that name the other holders",
        "what a Mirrors line promises is there, narinfo and NAR",
    );
    let mut promises = 0;
    for (number, root) in stage.source.roots.iter().enumerate() {
        let hash = hash_part(root)?;
        for (place, site) in stage.sites.iter().enumerate() {
            // With two copies, every mirror can name another: the map that says so is a moment younger than the copies.
            let served = say
                .wait("a Mirrors line", SOON, async || {
                    let served = look::narinfo(http, site, hash).await?;
                    ensure!(!served.mirrors.is_empty(), "{} names no mirror for {root} yet", site.name);
                    Ok(served)
                })
                .await?;
            if (number, place) == (0, 0) {
                block(&format!("$ curl -A Nix {}/{hash}.narinfo\n{}", site.reach, served.text));
            }
            ensure!(!served.mirrors.contains(&site.url), "a mirror names itself: {}", served.text);
            for entry in &served.mirrors {
                look::promised(http, stage, entry, hash, &served.nar).await?;
                promises += 1;
            }
        }
    }
    say.note(&format!(
        "{promises} promises about {} store paths followed, all kept",
        stage.source.roots.len()
    ));
    Ok(())
}

/// The real nix, into an empty store, from each of these sites alone.
async fn substitute(say: &Narrator, stage: &Stage, sites: &[usize], shows: &str) -> Result<()> {
    say.step("A stock nix substitutes, signatures checked", shows);
    for site in sites.iter().map(|number| &stage.sites[*number]) {
        let began = Instant::now();
        let output = nix_client::substitute(&site.reach, &stage.source.roots, &stage.source.key).await?;
        let said = String::from_utf8_lossy(&output.stderr);
        let paths = said.lines().filter(|line| line.starts_with("copying path")).count();
        let took = began.elapsed().as_secs_f64();
        say.note(&format!("from {}: {paths} store paths in {took:.1} s, all signatures good", site.name));
    }
    Ok(())
}

async fn lose_a_node(say: &Narrator, stage: &Stage, cluster: &Cluster) -> Result<()> {
    let lost = stage.sites.last().context("no site")?;
    let node = lost.node.as_deref().context("the site is on no node")?;
    say.step(
        "A node is cut off from the network",
        "the status says so within a minute, and the others serve on",
    );
    cluster.cut_off(node).await?;
    let began = Instant::now();
    say.note(&format!("{node}, with the mirror {}, has lost its cable", lost.name));
    let message = say
        .wait("the status to tell", TOLD, async || {
            let mirror = stage.kube.get(&["-n", NAMESPACE, "cachemirror", lost.name]).await?;
            let phase = mirror["status"]["phase"].as_str().unwrap_or_default();
            ensure!(phase == "Degraded", "{} is still {phase}", lost.name);
            Ok(look::condition(&mirror, "Ready").1.to_owned())
        })
        .await?;
    say.note(&format!("told after {:.1} s: {message}", began.elapsed().as_secs_f64()));
    show(stage).await?;
    substitute(say, stage, &[0, 1], "the closure again, from each of the mirrors that are left").await?;
    say.step(
        "The node is back",
        "its mirror is counted again once it answers; nothing was deleted meanwhile",
    );
    cluster.let_in(node).await?;
    cluster.wait_ready(node, SOON).await?;
    satisfied(say, stage, SOON).await
}

async fn verify(say: &Narrator, stage: &Stage) -> Result<()> {
    say.step(
        "Every byte of every tree once more",
        "granary-mirror verify reads a whole tree as a stranger would",
    );
    let mut rows = Vec::new();
    for site in &stage.sites {
        let verdict = clean(stage, site).await?;
        let mirror = stage.kube.get(&["-n", NAMESPACE, "cachemirror", site.name]).await?;
        let replica = &mirror["status"]["mirrors"][0];
        let text = |name: &str| replica[name].as_str().unwrap_or("-").to_owned();
        let number = |name: &str| replica[name].as_u64().unwrap_or(0).to_string();
        rows.push([
            text("name"),
            text("zone"),
            text("region"),
            number("artifacts"),
            number("bytes"),
            verdict,
        ]);
    }
    block(&look::table(&rows));
    Ok(())
}

async fn clean(stage: &Stage, site: &Site) -> Result<String> {
    let pod = format!("{}-0-0", site.name);
    let exec = ["-n", NAMESPACE, "exec", &pod, "-c", "agent", "--"];
    let verify = ["/usr/bin/granary-mirror", "verify", "/srv/granary", "--public-key", &stage.source.key];
    let found = stage.kube.kubectl(&[&exec[..], &verify[..]].concat()).await;
    found.with_context(|| format!("the tree of {} is not clean", site.name))?;
    Ok("yes, all of it".to_owned())
}

/// `/nix/store/<hash>-<name>`.
fn hash_part(store_path: &str) -> Result<&str> {
    let name = store_path.rsplit('/').next().unwrap_or(store_path);
    let hash = name.get(..32).filter(|_| name.as_bytes().get(32) == Some(&b'-'));
    hash.with_context(|| format!("{store_path} is not a store path"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_part_is_the_first_32_characters_of_the_name() {
        let path = "/nix/store/07hhigg68ffdy6xr593yb4kmbj6cbnzy-libnghttp2";
        assert_eq!(hash_part(path).unwrap(), "07hhigg68ffdy6xr593yb4kmbj6cbnzy");
        assert!(hash_part("/nix/store/short").is_err());
    }
}
