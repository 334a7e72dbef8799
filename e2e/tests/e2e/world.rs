//! What all tests share: the cluster, started by the first test that runs, and the operator in it.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use granary_e2e::cluster::{Cluster, ClusterConfig, NodeConfig};
use granary_e2e::namespace::Run;
use granary_e2e::paths;
use libtest_mimic::Failed;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::case::{Case, Space};
use crate::probe;

/// No test may keep the others waiting for longer.
const LIMIT: Duration = Duration::from_mins(6);

/// The cluster and what is in it.
pub struct World {
    runtime: Runtime,
    run: Run,
    // The reason is a text, since every later test is told it too.
    cluster: OnceCell<Result<Cluster, String>>,
    port: AtomicU16,
}

impl World {
    /// Nothing is started yet.
    pub fn new(run: Run) -> Result<Self> {
        // Nothing here speaks TLS, but the HTTP client wants to know by what it would.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = Runtime::new().context("no runtime")?;
        Ok(Self { runtime, run, cluster: OnceCell::new(), port: AtomicU16::new(9000) })
    }

    /// Runs one test in its own namespace; when it fails, prints what explains it.
    pub fn run(&self, case: &Case) -> Result<(), Failed> {
        self.runtime.block_on(self.run_case(case)).map_err(|error| format!("{error:#}").into())
    }

    async fn run_case(&self, case: &Case) -> Result<()> {
        let cluster = self.cluster().await?;
        let namespace = case.namespace();
        cluster.create_namespace(&namespace).await?;
        let port = self.port.fetch_add(10, Ordering::Relaxed);
        let space = Space { world: self, cluster, namespace: namespace.clone(), port };
        let start = Instant::now();
        let result = match tokio::time::timeout(LIMIT, (case.code)(&space)).await {
            Ok(result) => result,
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
        let repaired = cluster.repair().await;
        let deleted = cluster.delete_namespace(&namespace).await;
        result.and(repaired).and(deleted)
    }

    async fn cluster(&self) -> Result<&Cluster> {
        let cluster =
            self.cluster.get_or_init(|| async { self.start().await.map_err(|error| format!("{error:#}")) });
        cluster.await.as_ref().map_err(|reason| anyhow::anyhow!("there is no cluster: {reason}"))
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
