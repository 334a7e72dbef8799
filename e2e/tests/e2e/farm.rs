//! A small world of mirrors in a test's namespace: an upstream, a mirror on each node, and what can be asked of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use granary_e2e::cluster::Response;
use granary_e2e::upstream::{Upstream, copy_cache};
use granary_e2e::wait::wait_for;
use granary_e2e::{nix_client, paths};
use serde_json::{Value, json};

use crate::case::Space;

/// Long enough for three pods to start and for the whole corpus to be copied and verified on two slow cores, beside others.
pub const SYNC: Duration = Duration::from_mins(6);
/// A status tells what went wrong within a minute; how long that is on a slow machine, no test decides.
pub const TOLD: Duration = Duration::from_mins(4);

/// The upstream and the mirrors.
pub struct Farm<'a> {
    pub space: &'a Space<'a>,
    pub upstream: Upstream,
    /// The public key of the upstream, `name:base64`.
    pub key: String,
    pub sites: Vec<Site>,
}

/// One CacheMirror with one replica, pinned to one node.
pub struct Site {
    pub name: &'static str,
    pub node: String,
    /// Where clients reach it: a host port.
    pub url: String,
    /// The host path of its CacheMirror.
    pub disk: PathBuf,
}

impl Site {
    /// The replica's name, which is also its StatefulSet's and Service's.
    pub fn holder(&self) -> String {
        format!("{}-0", self.name)
    }

    /// The replica's pod.
    pub fn pod(&self) -> String {
        format!("{}-0-0", self.name)
    }

    /// The binary cache on its disk.
    pub fn tree(&self, namespace: &str) -> PathBuf {
        self.disk.join(format!("{namespace}.{}", self.holder()))
    }
}

impl<'a> Farm<'a> {
    /// Starts an upstream over a copy of the corpus, and a mirror in each of the three zones.
    pub async fn start(space: &'a Space<'a>) -> Result<Self> {
        let farm = Self::prepare(space, "zstd").await?;
        farm.plant().await?;
        Ok(farm)
    }

    /// The same without the mirrors, so that the upstream can be changed before.
    pub async fn prepare(space: &'a Space<'a>, compression: &str) -> Result<Self> {
        let corpus = paths::corpus()?;
        let copy = space.scratch()?.join("upstream");
        copy_cache(&corpus.join(format!("cache-{compression}")), &copy)?;
        let key = read(&corpus.join("key.pub"))?.trim().to_owned();
        Self::over(space, &copy, key).await
    }

    /// An upstream over any folder, and no mirrors yet.
    pub async fn over(space: &'a Space<'a>, cache: &Path, key: String) -> Result<Self> {
        space.world.operator().await?;
        let scratch = space.scratch()?;
        let upstream = Upstream::start(cache, space.port + 9, &scratch.join("nginx"))?;
        let names = ["east", "north", "south"];
        let sites = names.into_iter().zip(space.cluster.nodes()).map(|(name, node)| {
            let url = format!("http://{}:{}", space.cluster.address(&node.name)?, space.port);
            Ok(Site { name, node: node.name.clone(), url, disk: scratch.join(format!("disk-{}", node.name)) })
        });
        let sites = sites.collect::<Result<_>>()?;
        Ok(Self { space, upstream, key, sites })
    }

    /// Applies the mirrors' objects.
    pub async fn plant(&self) -> Result<()> {
        for site in &self.sites {
            self.space.apply(&self.cache_mirror(site).to_string()).await?;
        }
        Ok(())
    }

    /// A site's CacheMirror.
    pub fn cache_mirror(&self, site: &Site) -> Value {
        json!({
            "apiVersion": "granary.dev/v1alpha1",
            "kind": "CacheMirror",
            "metadata": {"name": site.name, "labels": {"farm": "yes"}},
            "spec": {
                "url": site.url,
                "upstreams": [{"url": self.upstream.url(), "publicKeys": [self.key]}],
                "storage": {"filesystem": {"hostPath": site.disk}},
                "nodes": {"selector": {"kubernetes.io/hostname": site.node}},
                "serving": {"hostPort": self.space.port},
            },
        })
    }

    /// Applies a policy over all mirrors of the farm.
    pub async fn policy(&self, name: &str, roots: &[String], target: u8) -> Result<()> {
        self.space.apply(&policy(name, roots, target).to_string()).await
    }

    /// Waits until the policy's condition has that status, and returns its message.
    pub async fn policy_is(&self, name: &str, type_: &str, status: &str, limit: Duration) -> Result<String> {
        self.space.condition("replicationpolicy", name, type_, status, limit).await
    }

    /// Waits until every copy that the policy asks for is there.
    pub async fn satisfied(&self, name: &str) -> Result<()> {
        self.policy_is(name, "Satisfied", "True", SYNC).await.map(drop)
    }

    /// Waits until a mirror's condition has that status, and returns its message.
    pub async fn mirror_is(&self, site: &Site, type_: &str, status: &str, limit: Duration) -> Result<String> {
        self.space.condition("cachemirror", site.name, type_, status, limit).await
    }

    /// The single replica's entry in a CacheMirror's status.
    pub async fn replica(&self, site: &Site) -> Result<Value> {
        let object = self.space.get(&["cachemirror", site.name]).await?;
        Ok(object["status"]["mirrors"][0].clone())
    }

    /// Waits until the status names this disk: it follows the mirror's own report by a few seconds.
    pub async fn has_disk(&self, site: &Site, disk: &Value) -> Result<()> {
        wait_for("the status to name the disk", TOLD, async || {
            let replica = self.replica(site).await?;
            ensure!(replica["disk"] == *disk, "{replica} has not the disk {disk}");
            Ok(())
        })
        .await
    }

    /// Substitutes with the real nix from one mirror alone.
    pub async fn substitute(&self, site: &Site, roots: &[String]) -> Result<()> {
        let result = nix_client::substitute(&site.url, roots, &self.key).await;
        result.map(drop).with_context(|| format!("from {}", site.name))
    }

    /// A narinfo as this mirror serves it to Nix.
    pub async fn narinfo(&self, site: &Site, store_path: &str) -> Result<Narinfo> {
        let url = format!("{}/{}.narinfo", site.url, hash_part(store_path)?);
        let response = self.space.cluster.fetch(&url, &[("User-Agent", NIX)]).await?;
        ensure!(response.status.is_success(), "{url} answered {}", response.status);
        Narinfo::parse(&response)
    }

    /// What a mirror says about itself.
    pub async fn report(&self, site: &Site) -> Result<Value> {
        let text =
            self.space.cluster.fetch_text(&format!("{}/granary/v1/report", self.agent(site).await?)).await?;
        serde_json::from_str(&text).context("a report is not JSON")
    }

    /// The value of one of a mirror's metrics, with its labels as they are written.
    pub async fn metric(&self, site: &Site, series: &str) -> Result<f64> {
        let text = self.space.cluster.fetch_text(&format!("{}/metrics", self.agent(site).await?)).await?;
        metric(&text, series)
    }

    /// `granary-mirror verify` over the tree of every mirror.
    pub async fn verify(&self) -> Result<()> {
        for site in &self.sites {
            let command = ["granary-mirror", "verify", "/srv/granary", "--public-key", &self.key];
            let verified =
                self.space.cluster.exec(&self.space.namespace, &site.pod(), "agent", &command).await;
            verified.with_context(|| format!("the tree of {} is not clean", site.name))?;
        }
        Ok(())
    }

    async fn agent(&self, site: &Site) -> Result<String> {
        let pod = self.space.get(&["pod", &site.pod()]).await?;
        let ip = pod["status"]["podIP"].as_str().context("the pod has no address yet")?;
        Ok(format!("http://{ip}:8081"))
    }
}

/// How Nix presents itself; a `Compatible` mirror gives it the `Mirrors:` line.
pub const NIX: &str = "curl/7.88.1 Nix/2.8.0";

/// The lines of a narinfo, and the `Link` headers that came with it.
pub struct Narinfo {
    pub lines: BTreeMap<String, String>,
    pub links: Vec<String>,
}

impl Narinfo {
    fn parse(response: &Response) -> Result<Self> {
        let text = response.text()?;
        let mut lines = BTreeMap::new();
        for line in text.lines() {
            let (key, value) =
                line.split_once(": ").with_context(|| format!("not a line of a narinfo: {line:?}"))?;
            ensure!(lines.insert(key.to_owned(), value.to_owned()).is_none(), "{key} comes twice: {text}");
        }
        let headers = response.headers.get_all("link").iter().map(|value| Ok(value.to_str()?.to_owned()));
        Ok(Self { lines, links: headers.collect::<Result<_>>()? })
    }

    /// The other mirrors that are said to hold it.
    pub fn mirrors(&self) -> Vec<String> {
        let line = self.lines.get("Mirrors").map(String::as_str).unwrap_or_default();
        line.split_whitespace().map(Into::into).collect()
    }

    /// The NAR file's address below a mirror's.
    pub fn url(&self) -> Result<&str> {
        self.lines.get("URL").map(String::as_str).context("a narinfo without a URL")
    }
}

impl Space<'_> {
    /// Waits until an object's condition has that status, and returns its message.
    pub async fn condition(
        &self,
        kind: &str,
        name: &str,
        type_: &str,
        status: &str,
        limit: Duration,
    ) -> Result<String> {
        wait_for(&format!("{kind}/{name} to have {type_}={status}"), limit, async || {
            let object = self.get(&[kind, name]).await?;
            let conditions =
                object["status"]["conditions"].as_array().context("there are no conditions yet")?;
            let found = conditions.iter().find(|condition| condition["type"] == type_);
            let found = found.with_context(|| format!("there is no condition {type_}"))?;
            let message = found["message"].as_str().unwrap_or_default();
            if found["status"] != status || found["observedGeneration"] != object["metadata"]["generation"] {
                bail!("{} {}: {message}", found["status"], found["reason"]);
            }
            Ok(format!("{}: {message}", found["reason"].as_str().unwrap_or_default()))
        })
        .await
    }
}

/// A policy over all mirrors of the farm.
pub fn policy(name: &str, roots: &[String], target: u8) -> Value {
    json!({
        "apiVersion": "granary.dev/v1alpha1",
        "kind": "ReplicationPolicy",
        "metadata": {"name": name},
        "spec": {
            "mirrors": {"matchLabels": {"farm": "yes"}},
            "artifacts": {"storePaths": roots},
            "copies": {"target": target},
        },
    })
}

/// The store paths whose closures are the corpus.
pub fn roots() -> Result<Vec<String>> {
    Ok(read(&paths::corpus()?.join("roots.txt"))?.lines().map(Into::into).collect())
}

/// One of them, by the name of its program.
pub fn root(program: &str) -> Result<String> {
    let found = roots()?
        .into_iter()
        .find(|path| path.get(44..).is_some_and(|name| name.starts_with(&format!("{program}-"))));
    found.with_context(|| format!("the corpus has no {program}"))
}

/// All store paths of the corpus.
pub fn closure() -> Result<Vec<String>> {
    Ok(read(&paths::corpus()?.join("paths.txt"))?.lines().map(Into::into).collect())
}

/// The 32 characters that name a store path's narinfo.
pub fn hash_part(store_path: &str) -> Result<&str> {
    store_path.get(11..43).with_context(|| format!("{store_path} is not a store path"))
}

/// The value of a series in Prometheus' text form.
pub fn metric(text: &str, series: &str) -> Result<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = line.with_context(|| format!("there is no series {series}"))?;
    value.trim().parse().with_context(|| format!("{series} is {value}"))
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
