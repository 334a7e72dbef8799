//! The demo on a cluster that the user has.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use granary_e2e::paths;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use crate::kube::Kube;
use crate::narrator::{Narrator, block};
use crate::stage::{ImageName, NAMESPACE, Site, Source, Stage};

/// What only the user can know about their cluster.
#[derive(Args)]
pub struct Existing {
    /// The operator's image where the nodes can pull it (`cargo xtask images` builds it and says how to push).
    #[arg(long, requires = "existing")]
    operator_image: Option<String>,
    /// The mirror's image, likewise.
    #[arg(long, requires = "existing")]
    mirror_image: Option<String>,
    /// A binary cache that the nodes reach.
    #[arg(long, requires = "existing", default_value = "https://cache.nixos.org")]
    upstream: String,
    /// The cache's public key.
    #[arg(
        long,
        requires = "existing",
        default_value = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
    )]
    public_key: String,
    /// Store paths of that cache; their closures are mirrored. Can be given several times.
    #[arg(long, requires = "existing")]
    store_path: Vec<String>,
    /// A folder on each node for the copies.
    #[arg(long, requires = "existing", default_value = "/var/lib/granary-demo")]
    host_path: String,
}

impl Existing {
    /// The stage on that cluster. The sites are reached through kubectl, once they are there.
    pub async fn stage(&self, say: &Narrator) -> Result<Stage> {
        let (Some(operator), Some(mirror)) = (&self.operator_image, &self.mirror_image) else {
            bail!(
                "--existing needs --operator-image and --mirror-image, where the nodes can pull them from: \
                 `cargo xtask images` builds them and says how to push them"
            );
        };
        if self.store_path.is_empty() {
            bail!(
                "--existing needs --store-path, at least once: what shall be mirrored from {}?",
                self.upstream
            );
        }
        say.step(
            "Your Kubernetes cluster",
            "the operator needs nothing but an API server and nodes with disks",
        );
        let kube = Kube { bin: paths::bin()?, kubeconfig: None };
        let nodes = ["get", "nodes", "-L", "topology.kubernetes.io/region,topology.kubernetes.io/zone"];
        block(&kube.kubectl(&nodes).await.context("KUBECONFIG does not lead to a cluster")?);
        let site = |name: &'static str| Site {
            name,
            node: None,
            host_port: None,
            url: format!("http://{name}.{NAMESPACE}.svc"),
            reach: String::new(),
            tree: None,
            host_path: format!("{}/{name}", self.host_path),
        };
        Ok(Stage {
            kube,
            charts: paths::repository().join("charts"),
            operator_image: ImageName::parse(operator),
            mirror_image: ImageName::parse(mirror),
            source: Source {
                url: self.upstream.clone(),
                key: self.public_key.clone(),
                roots: self.store_path.clone(),
            },
            sites: ["east", "north", "south"].map(site).into(),
        })
    }
}

/// A way from here to a site's Service, through the API server. It closes when this is dropped.
pub struct Tunnel {
    _kubectl: Child,
    /// The address on this machine.
    pub url: String,
}

impl Tunnel {
    /// Opens one.
    pub async fn open(kube: &Kube, site: &str) -> Result<Self> {
        let service = format!("service/{site}");
        let mut command = kube.command("kubectl", &["-n", NAMESPACE, "port-forward", &service, ":80"]);
        let mut kubectl = command.spawn().context("cannot start kubectl")?;
        let lines = kubectl.stdout.take().context("kubectl says nothing")?;
        let mut lines = BufReader::new(lines).lines();
        let first = tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await;
        let first = first.context("kubectl port-forward does not answer")??.unwrap_or_default();
        let port = port_of(&first).with_context(|| format!("kubectl port-forward said {first:?}"))?;
        // It complains when nobody reads what it says.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { _kubectl: kubectl, url: format!("http://127.0.0.1:{port}") })
    }
}

/// `Forwarding from 127.0.0.1:41235 -> 8080`.
fn port_of(line: &str) -> Option<u16> {
    line.split(" -> ").next()?.rsplit(':').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_local_port_is_read() {
        assert_eq!(port_of("Forwarding from 127.0.0.1:41235 -> 8080"), Some(41235));
        assert_eq!(port_of("error: something"), None);
    }
}
