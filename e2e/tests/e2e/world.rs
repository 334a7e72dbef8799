//! What all tests share: the cluster, started by the first test that runs, and the operator in it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::FutureExt as _;
use granary_e2e::cluster::{Cluster, ClusterConfig, NodeConfig};
use granary_e2e::namespace::Run;
use granary_e2e::paths;
use granary_e2e::wait::wait_for;
use libtest_mimic::Failed;
use tokio::runtime::Runtime;
use tokio::sync::{OnceCell, RwLock};

use crate::case::{Case, Space};
use crate::probe;

/// No test may keep the others waiting for longer.
const LIMIT: Duration = Duration::from_mins(20);

/// The cluster and what is in it.
pub struct World {
    runtime: Runtime,
    run: Run,
    // The reason is a text, since every later test is told it too.
    cluster: OnceCell<Result<Cluster, String>>,
    definitions: OnceCell<Result<(), String>>,
    operator: OnceCell<Result<(), String>>,
    port: AtomicU16,
    gate: RwLock<()>,
}

/// The operator's namespace.
pub const OPERATOR: &str = "granary-system";

const DEPLOYMENT: &str = "deployment/granary-operator";

impl World {
    /// Nothing is started yet.
    pub fn new(run: Run) -> Result<Self> {
        // Nothing here speaks TLS, but the HTTP client wants to know by what it would.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().context("no runtime")?;
        Ok(Self {
            runtime,
            run,
            cluster: OnceCell::new(),
            definitions: OnceCell::new(),
            operator: OnceCell::new(),
            port: AtomicU16::new(9000),
            gate: RwLock::new(()),
        })
    }

    /// Runs one test in its own namespace; when it fails, prints what explains it.
    pub fn run(&self, case: &Case) -> Result<(), Failed> {
        self.runtime.block_on(self.run_case(case)).map_err(|error| format!("{error:#}").into())
    }

    async fn run_case(&self, case: &Case) -> Result<()> {
        let cluster = self.cluster().await?;
        // Held until the harm is repaired.
        let (_alone, _together) = if case.alone {
            (Some(self.gate.write().await), None)
        } else {
            (None, Some(self.gate.read().await))
        };
        let namespace = case.namespace();
        cluster.create_namespace(&namespace).await?;
        let port = self.port.fetch_add(10, Ordering::Relaxed);
        let space = Space { world: self, cluster, namespace: namespace.clone(), port };
        let start = Instant::now();
        // An assertion that fails must not skip what follows either.
        let code = AssertUnwindSafe((case.code)(&space)).catch_unwind();
        let result = match tokio::time::timeout(LIMIT, code).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(anyhow::anyhow!("{}", said(panic.as_ref()))),
            Err(_) => Err(anyhow::anyhow!("the test did not end within {} s", LIMIT.as_secs())),
        };
        eprintln!("{:6.1} s  {}", start.elapsed().as_secs_f64(), case.name());
        if result.is_err() {
            eprintln!(
                "=== what explains the failure of {}\n{}",
                case.name(),
                cluster.explain(&namespace).await
            );
        }
        // A node that a failed test left cut off, paused or down would fail all that follow.
        let repaired = if case.alone { cluster.repair().await } else { Ok(()) };
        let deleted = cluster.delete_namespace(&namespace).await;
        result.and(repaired).and(deleted)
    }

    async fn cluster(&self) -> Result<&Cluster> {
        let cluster =
            self.cluster.get_or_init(|| async { self.start().await.map_err(|error| format!("{error:#}")) });
        cluster.await.as_ref().map_err(|reason| anyhow::anyhow!("there is no cluster: {reason}"))
    }

    /// Installs the definitions with Helm, once.
    pub async fn definitions(&self) -> Result<()> {
        let cluster = self.cluster().await?;
        let install = async || install_definitions(cluster).await.map_err(|error| format!("{error:#}"));
        let installed = self.definitions.get_or_init(install).await;
        installed.as_ref().map_err(|reason| anyhow::anyhow!("there are no definitions: {reason}")).copied()
    }

    /// Installs the definitions and the operator with Helm, once.
    pub async fn operator(&self) -> Result<()> {
        self.definitions().await?;
        let cluster = self.cluster().await?;
        let install = async || install(cluster).await.map_err(|error| format!("{error:#}"));
        let installed = self.operator.get_or_init(install).await;
        installed.as_ref().map_err(|reason| anyhow::anyhow!("there is no operator: {reason}")).copied()
    }

    /// Changes the number of operators, and waits until it is so.
    pub async fn scale_operator(&self, replicas: u32) -> Result<()> {
        let cluster = self.cluster().await?;
        cluster.kubectl(&["-n", OPERATOR, "scale", DEPLOYMENT, &format!("--replicas={replicas}")]).await?;
        if replicas > 0 {
            return rolled_out(cluster).await;
        }
        wait_for("the operators to end", Duration::from_mins(3), async || {
            let pods = cluster.kubectl(&["-n", OPERATOR, "get", "pods", "-o", "name"]).await?;
            anyhow::ensure!(pods.is_empty(), "left: {pods}");
            Ok(())
        })
        .await
    }

    async fn start(&self) -> Result<Cluster> {
        let start = Instant::now();
        let progress = |what: &str| eprintln!("{:6.1} s  {what}", start.elapsed().as_secs_f64());
        let config = ClusterConfig {
            bin: paths::bin()?,
            images: paths::images()?,
            run: self.run.clone(),
            nodes: NodeConfig::three(),
        };
        let cluster = Cluster::start(config, &progress).await?;
        let probe = cluster.scratch("images")?.join("probe.tar");
        probe::write(&probe)?;
        cluster.load_image(&probe).await?;
        Ok(cluster)
    }
}

/// What a failed assertion said; its place in the code has been printed already.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

const RELEASE: [&str; 5] = ["upgrade", "--install", "--create-namespace", "--namespace", OPERATOR];

fn chart(name: &str) -> String {
    paths::repository().join("charts").join(name).display().to_string()
}

async fn install_definitions(cluster: &Cluster) -> Result<()> {
    cluster.helm(&[&RELEASE[..], &["granary-crds", &chart("granary-crds")]].concat()).await?;
    for name in ["cachemirrors.granary.dev", "replicationpolicies.granary.dev"] {
        cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=150s", "crd", name]).await?;
    }
    // Discovery and the published schemas follow the establishment by a moment, each on its own.
    wait_for("both kinds to be found and explained", Duration::from_mins(2), async || {
        cluster.kubectl(&["get", "cmir,rpol,granary", "--all-namespaces"]).await?;
        for kind in ["cachemirror", "replicationpolicy"] {
            cluster.kubectl(&["explain", &format!("{kind}.spec")]).await?;
        }
        Ok(())
    })
    .await
}

async fn install(cluster: &Cluster) -> Result<()> {
    let start = Instant::now();
    let images = [
        "--set",
        "image.repository=granary.test/operator,image.tag=dev",
        "--set",
        "mirrorImage.repository=granary.test/mirror,mirrorImage.tag=dev",
    ];
    cluster.helm(&[&RELEASE[..], &["granary", &chart("granary")], &images[..]].concat()).await?;
    let result = rolled_out(cluster).await;
    if result.is_err() {
        eprintln!("=== what explains that the operator does not start\n{}", cluster.explain(OPERATOR).await);
    }
    eprintln!("{:6.1} s  the operator installed by Helm", start.elapsed().as_secs_f64());
    result
}

async fn rolled_out(cluster: &Cluster) -> Result<()> {
    let args = ["-n", OPERATOR, "rollout", "status", DEPLOYMENT, "--timeout=290s"];
    cluster.kubectl_within(Duration::from_mins(5), &args).await.map(drop)
}
