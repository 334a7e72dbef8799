//! The whole of Granary in a few minutes: mirrors, a policy, verified copies, a real nix, and a node that goes away.

mod existing;
mod kube;
mod look;
mod narrator;
mod objects;
mod stage;
mod story;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use granary_e2e::cluster::{Cluster, ClusterConfig, NodeConfig};
use granary_e2e::namespace::{self, Role, Run};
use granary_e2e::paths;
use granary_e2e::upstream::Upstream;
use serde_json::json;

use crate::existing::Existing;
use crate::narrator::{Narrator, block};
use crate::stage::Stage;

#[derive(Parser)]
#[command(about = "Shows what Granary does, on a cluster of its own or on yours")]
struct Arguments {
    /// Leave the cluster up until this process is ended.
    #[arg(long, conflicts_with = "existing")]
    keep: bool,
    /// With --keep: written when the story is over; JSON with kubeconfig, bin, and the process ids supervisor and init.
    #[arg(long, requires = "keep")]
    ready_file: Option<PathBuf>,
    /// Use the cluster that KUBECONFIG names. What it makes there stays.
    #[arg(long)]
    existing: bool,
    #[command(flatten)]
    given: Existing,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = if arguments.existing { on_existing(&arguments.given) } else { on_own(&arguments) };
    result.unwrap_or_else(|error| {
        eprintln!("granary-demo: {error:#}");
        ExitCode::FAILURE
    })
}

#[tokio::main]
async fn on_existing(given: &Existing) -> Result<ExitCode> {
    provider();
    let say = Narrator::new();
    let mut stage = given.stage(&say).await?;
    story::tell(&say, &mut stage, None).await?;
    block(
        "To remove it again:\n  kubectl delete namespace granary-demo\n  helm uninstall granary --namespace granary-system\n  \
         helm uninstall granary-crds --namespace granary-system",
    );
    Ok(ExitCode::SUCCESS)
}

fn on_own(arguments: &Arguments) -> Result<ExitCode> {
    match namespace::enter()? {
        Role::Finished(code) => Ok(code),
        Role::Inside(run) => inside(&run, arguments),
    }
}

#[tokio::main]
async fn inside(run: &Run, arguments: &Arguments) -> Result<ExitCode> {
    provider();
    let say = Narrator::new();
    say.step(
        "A Kubernetes cluster on this machine",
        "real etcd, API server, scheduler, kubelets and containerd; three nodes in three zones and two regions",
    );
    let config = ClusterConfig {
        bin: paths::bin()?,
        images: paths::images()?,
        run: run.clone(),
        nodes: NodeConfig::three(),
    };
    let cluster = Cluster::start(config, &|what| say.note(what)).await?;
    let corpus = paths::corpus()?;
    let upstream = Upstream::start(&corpus.join("cache-xz"), 8000, &cluster.scratch("upstream")?)?;
    let mut stage = Stage::own(&cluster, upstream.url(), &corpus)?;
    if let Err(error) = story::tell(&say, &mut stage, Some(&cluster)).await {
        // The logs outlive the run, in the cache's folder `log`.
        std::fs::write(cluster.logs().join("explain.txt"), cluster.explain(stage::NAMESPACE).await)?;
        let place = paths::cache()?.join("log");
        return Err(error.context(format!("objects, events and logs are in {}", place.display())));
    }
    if arguments.keep {
        keep(run, &cluster, arguments.ready_file.as_deref()).await?;
    } else {
        block("cargo xtask demo --keep leaves the cluster up to look around in.");
    }
    Ok(ExitCode::SUCCESS)
}

/// Says where the cluster is and waits for the end, which comes from outside.
async fn keep(run: &Run, cluster: &Cluster, ready_file: Option<&std::path::Path>) -> Result<()> {
    let supervisor: u32 = run.name.parse().context("the run's name is no process id")?;
    let ready = json!({
        "kubeconfig": cluster.kubeconfig(),
        "bin": cluster.bin(),
        "supervisor": supervisor,
        "init": run.init_pid()?,
    });
    if let Some(file) = ready_file {
        let partial = file.with_extension("partial");
        std::fs::write(&partial, ready.to_string()).context("cannot write the ready file")?;
        std::fs::rename(&partial, file).context("cannot place the ready file")?;
    }
    loop {
        tokio::time::sleep(Duration::from_hours(1)).await;
    }
}

fn provider() {
    // A second call is refused, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
