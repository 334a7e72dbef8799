//! The cluster: control plane, nodes, network, DNS, and the verbs to use and to hurt it.

pub mod cgroup;
pub mod process;

mod cni;
mod control_plane;
mod dns;
mod explain;
mod faults;
mod http;
mod images;
mod kubectl;
mod net;
mod node;
mod pki;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;

use crate::namespace::Run;
use crate::wait::wait_for;
use control_plane::ControlPlane;
pub use http::Response;
use node::Node;
use pki::Pki;

/// The address of the bridge: the API server, cluster DNS and the upstream caches are there.
pub const CONTROL_PLANE: &str = "10.77.0.1";
/// The service network's first address, which is the API server inside the cluster.
const SERVICE_API: &str = "10.96.0.1";
const SERVICE_CIDR: &str = "10.96.0.0/16";
const SERVICE_DNS: &str = "10.96.0.10";
const POD_CIDR: &str = "10.244.0.0/16";

/// What a cluster is made of.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The folder of the built programs: kube-apiserver, kubelet, etcd, coredns, kubectl, helm and so on.
    pub bin: PathBuf,
    /// The folder of image tars that every node gets. `pause.tar` must be among them.
    pub images: PathBuf,
    /// The run, whose folder takes everything that the cluster writes.
    pub run: Run,
    /// The nodes, 1 to 100.
    pub nodes: Vec<NodeConfig>,
}

/// A node's name and where it stands; both go into its labels.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The name, a DNS label of at most 8 characters (it is part of an interface's name).
    pub name: String,
    /// `topology.kubernetes.io/region`.
    pub region: String,
    /// `topology.kubernetes.io/zone`.
    pub zone: String,
}

impl NodeConfig {
    /// A node in a region and a zone.
    #[must_use]
    pub fn new(name: &str, region: &str, zone: &str) -> Self {
        Self { name: name.into(), region: region.into(), zone: zone.into() }
    }

    /// Three nodes, one in each of three zones, two of which are in one region.
    #[must_use]
    pub fn three() -> Vec<Self> {
        vec![Self::new("n1", "r1", "z1"), Self::new("n2", "r1", "z2"), Self::new("n3", "r2", "z3")]
    }
}

/// A running cluster. Its processes end when it is dropped; pods end with the namespaces.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    pki: Pki,
    nodes: Vec<Node>,
    control_plane: Mutex<ControlPlane>,
    http: reqwest::Client,
}

impl Cluster {
    /// Starts a cluster inside the namespaces of [`crate::namespace::enter`] and waits until every node is ready.
    pub async fn start(config: ClusterConfig, progress: &dyn Fn(&str)) -> Result<Self> {
        check(&config)?;
        let dir = config.run.dir.clone();
        let logs = dir.join("log");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        net::bridge().await?;
        let pki = Pki::create(&dir, &config.nodes).await?;
        let control_plane = Mutex::new(ControlPlane::start(&config.bin, &dir, &pki)?);
        let pause = images::name(&config.images.join("pause.tar")).await?;
        let mut nodes = Vec::new();
        for (index, node) in config.nodes.iter().enumerate() {
            nodes.push(Node::create(&config, &pki, node, index, &pause).await?);
        }
        let cluster = Self { config, pki, nodes, control_plane, http: http::client()? };
        progress("control plane and containerd started");
        // Images are unpacked while the API server comes up: both take about four seconds.
        futures::try_join!(cluster.api_ready(), cluster.load_images())?;
        progress("API server ready, images loaded");
        cluster
            .kubectl(&[
                "create",
                "clusterrolebinding",
                "kube-proxy",
                "--clusterrole=system:node-proxier",
                "--user=system:kube-proxy",
            ])
            .await?;
        try_join_all(cluster.nodes.iter().map(Node::start)).await?;
        try_join_all(cluster.nodes.iter().map(|node| cni::install(&cluster, node))).await?;
        dns::install(&cluster).await?;
        for node in &cluster.nodes {
            cluster.wait_ready(&node.config.name, Duration::from_mins(3)).await?;
        }
        progress(&format!("{} nodes ready", cluster.nodes.len()));
        Ok(cluster)
    }

    /// The folder of the run.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.config.run.dir
    }

    /// The folder of the processes' logs.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.dir().join("log")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.pki.kubeconfig("admin")
    }

    /// The folder of the cluster's programs.
    #[must_use]
    pub fn bin(&self) -> &Path {
        &self.config.bin
    }

    /// The nodes that were asked for, in that order.
    #[must_use]
    pub fn nodes(&self) -> &[NodeConfig] {
        &self.config.nodes
    }

    /// The address of a node, where its host ports are.
    pub fn address(&self, node: &str) -> Result<&str> {
        Ok(&self.node(node)?.address)
    }

    /// A folder for a test's own files, made when it is missing and removed with the run.
    pub fn scratch(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir().join("scratch").join(name);
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }

    /// Waits until the node is ready.
    pub async fn wait_ready(&self, node: &str, timeout: Duration) -> Result<()> {
        self.wait_condition(node, timeout, "True").await
    }

    /// Waits until the API server has noticed that the node does not answer.
    pub async fn wait_not_ready(&self, node: &str, timeout: Duration) -> Result<()> {
        self.wait_condition(node, timeout, "Unknown").await
    }

    async fn wait_condition(&self, node: &str, timeout: Duration, wanted: &str) -> Result<()> {
        let path = "jsonpath={.status.conditions[?(@.type==\"Ready\")]['status','message']}";
        wait_for(&format!("node {node} to have Ready={wanted}"), timeout, async || {
            self.check_processes(node)?;
            let seen = self.kubectl(&["get", "node", node, "-o", path]).await?;
            if !seen.starts_with(wanted) {
                bail!("{seen}");
            }
            Ok(())
        })
        .await
    }

    /// An error when a process of the control plane has ended, or one of a node that should be running.
    fn check_processes(&self, node: &str) -> Result<()> {
        self.control_plane()?.check()?;
        self.node(node)?.processes()?.check()
    }

    async fn api_ready(&self) -> Result<()> {
        wait_for("the API server", Duration::from_mins(3), async || {
            self.control_plane()?.check()?;
            let answer = self.kubectl(&["get", "--raw", "/readyz"]).await?;
            if answer.trim() != "ok" {
                bail!("{answer}");
            }
            Ok(())
        })
        .await
    }

    /// Gives every node one more image.
    pub async fn load_image(&self, tar: &Path) -> Result<()> {
        let tars = [tar.to_owned()];
        try_join_all(self.nodes.iter().map(|node| images::load(&node.socket, &tars))).await?;
        Ok(())
    }

    async fn load_images(&self) -> Result<()> {
        let tars = images::tars(&self.config.images)?;
        try_join_all(self.nodes.iter().map(|node| images::load(&node.socket, &tars))).await?;
        Ok(())
    }

    fn control_plane(&self) -> Result<std::sync::MutexGuard<'_, ControlPlane>> {
        self.control_plane
            .lock()
            .map_err(|_| anyhow::anyhow!("a test panicked while it held the control plane"))
    }

    fn node(&self, name: &str) -> Result<&Node> {
        self.nodes
            .iter()
            .find(|node| node.config.name == name)
            .with_context(|| format!("there is no node {name}"))
    }
}

fn check(config: &ClusterConfig) -> Result<()> {
    let ClusterConfig { bin, images: _, run: _, nodes } = config;
    if nodes.is_empty() || nodes.len() > 100 {
        bail!("a cluster has 1 to 100 nodes, not {}", nodes.len());
    }
    if let Some(node) = nodes.iter().find(|node| node.name.is_empty() || node.name.len() > 8) {
        bail!("the node name {:?} does not have 1 to 8 characters", node.name);
    }
    for program in [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
        "kubelet",
        "kubectl",
        "etcd",
        "coredns",
    ] {
        if !bin.join(program).is_file() {
            bail!("{} does not exist: run cargo xtask test, which builds it", bin.join(program).display());
        }
    }
    Ok(())
}
