//! A test cluster to look at: started, kept until the process ends, and tidied up after.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use granary_e2e::cluster::{Cluster, ClusterConfig, NodeConfig};
use granary_e2e::namespace::{self, Role, Run};
use granary_e2e::paths;
use granary_e2e::upstream::Upstream;
use serde_json::json;

/// Where the cache of `--serve` is, on the bridge.
const UPSTREAM_PORT: u16 = 8000;

#[derive(Parser)]
#[command(about = "A Kubernetes cluster of three nodes on this machine, in namespaces of its own")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start a cluster and keep it until this process is ended by SIGINT, SIGTERM or anything else.
    Up {
        /// Written when the nodes are ready: JSON with kubeconfig, bin, dir, upstream, and the process ids supervisor and init.
        #[arg(long)]
        ready_file: Option<PathBuf>,
        /// A binary cache on disk that is served to the nodes; the ready file then has its address as `upstream`.
        #[arg(long, value_name = "DIR")]
        serve: Option<PathBuf>,
    },
    /// Remove the cgroups and folders of runs that are over.
    Cleanup,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Cleanup => namespace::remove_leftovers().map(|()| ExitCode::SUCCESS),
        Command::Up { ready_file, serve } => enter_and_up(ready_file, serve),
    };
    result.unwrap_or_else(|error| {
        eprintln!("granary-e2e: {error:#}");
        ExitCode::FAILURE
    })
}

fn enter_and_up(ready_file: Option<PathBuf>, serve: Option<PathBuf>) -> Result<ExitCode> {
    match namespace::enter()? {
        Role::Finished(code) => Ok(code),
        Role::Inside(run) => up(&run, ready_file, serve),
    }
}

#[tokio::main]
async fn up(run: &Run, ready_file: Option<PathBuf>, serve: Option<PathBuf>) -> Result<ExitCode> {
    // Nothing here speaks TLS, but the HTTP client wants to know by what it would.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let start = Instant::now();
    let progress = |what: &str| eprintln!("{:6.1} s  {what}", start.elapsed().as_secs_f64());
    let config = ClusterConfig {
        bin: paths::bin()?,
        images: paths::images()?,
        run: run.clone(),
        nodes: NodeConfig::three(),
    };
    let cluster = Cluster::start(config, &progress).await?;
    let upstream = match serve {
        Some(cache) => Some(Upstream::start(&cache, UPSTREAM_PORT, &cluster.scratch("upstream")?)?),
        None => None,
    };
    let supervisor: u32 = run.name.parse().context("the run's name is no process id")?;
    let ready = json!({
        "kubeconfig": cluster.kubeconfig(),
        "bin": cluster.bin(),
        "dir": cluster.dir(),
        "supervisor": supervisor,
        "init": run.init_pid()?,
        "upstream": upstream.as_ref().map(Upstream::url),
    });
    if let Some(file) = ready_file {
        let partial = file.with_extension("partial");
        std::fs::write(&partial, ready.to_string()).context("cannot write the ready file")?;
        std::fs::rename(&partial, &file).context("cannot place the ready file")?;
    }
    println!(
        "nsenter --target {} --all env KUBECONFIG={} sh",
        run.init_pid()?,
        cluster.kubeconfig().display()
    );
    // The supervisor ends this process; until then there is only time to pass.
    loop {
        tokio::time::sleep(Duration::from_hours(1)).await;
    }
}
