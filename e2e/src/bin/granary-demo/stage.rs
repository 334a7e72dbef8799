//! Who plays: the upstream, the sites, the images.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use granary_e2e::cluster::Cluster;
use granary_e2e::paths;

use crate::kube::Kube;

/// Where the mirrors are.
pub const NAMESPACE: &str = "granary-demo";

/// Where the operator is.
pub const OPERATOR: &str = "granary-system";

/// The policy's name.
pub const POLICY: &str = "tools";

/// What the mirrors copy from.
pub struct Source {
    pub url: String,
    pub key: String,
    pub roots: Vec<String>,
}

/// A mirror to be.
pub struct Site {
    /// The `CacheMirror`; its only replica is `<name>-0`.
    pub name: &'static str,
    /// The node that it is tied to; absent: as the operator decides.
    pub node: Option<String>,
    /// The port of that node.
    pub host_port: Option<u16>,
    /// What Mirrors entries say.
    pub url: String,
    /// How this process reaches it.
    pub reach: String,
    /// Its disk's folder, when this machine can look into it.
    pub tree: Option<PathBuf>,
    /// The folder on the node that its disk is below.
    pub host_path: String,
}

/// An image's name in two parts, as the chart wants it.
#[derive(Clone)]
pub struct ImageName {
    pub repository: String,
    pub tag: String,
}

/// All of them.
pub struct Stage {
    pub kube: Kube,
    pub charts: PathBuf,
    pub operator_image: ImageName,
    pub mirror_image: ImageName,
    pub source: Source,
    pub sites: Vec<Site>,
}

impl Stage {
    /// The stage on the demo's own cluster: one site on each node, reached by a host port.
    pub fn own(cluster: &Cluster, upstream: &str, corpus: &Path) -> Result<Self> {
        let disks = cluster.dir().join("disks");
        let names = ["east", "north", "south"];
        let site = |(name, node): (&'static str, &granary_e2e::cluster::NodeConfig)| -> Result<Site> {
            let url = format!("http://{}:8080", cluster.address(&node.name)?);
            let disk = disks.join(name);
            Ok(Site {
                name,
                node: Some(node.name.clone()),
                host_port: Some(8080),
                url: url.clone(),
                reach: url,
                tree: Some(disk.join(format!("{NAMESPACE}.{name}-0"))),
                host_path: disk.to_string_lossy().into_owned(),
            })
        };
        Ok(Self {
            kube: Kube { bin: cluster.bin().to_owned(), kubeconfig: Some(cluster.kubeconfig()) },
            charts: paths::repository().join("charts"),
            operator_image: ImageName::parse("granary.test/operator:dev"),
            mirror_image: ImageName::parse("granary.test/mirror:dev"),
            source: Source {
                url: upstream.to_owned(),
                key: read(&corpus.join("key.pub"))?.trim().to_owned(),
                roots: read(&corpus.join("roots.txt"))?.lines().map(str::to_owned).collect(),
            },
            sites: names.into_iter().zip(cluster.nodes()).map(site).collect::<Result<_>>()?,
        })
    }
}

impl ImageName {
    /// Splits `registry:5000/name:tag`; without a tag it is `latest`.
    pub fn parse(name: &str) -> Self {
        let after_host = name.rfind('/').map_or(0, |slash| slash + 1);
        match name[after_host..].rfind(':').map(|colon| after_host + colon) {
            Some(colon) => Self { repository: name[..colon].to_owned(), tag: name[colon + 1..].to_owned() },
            None => Self { repository: name.to_owned(), tag: "latest".to_owned() },
        }
    }
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_a_tag() {
        let split = |name: &str| {
            let ImageName { repository, tag } = ImageName::parse(name);
            (repository, tag)
        };
        let pair = |one: &str, two: &str| (one.to_owned(), two.to_owned());
        assert_eq!(split("host:5000/a/b:1.2"), pair("host:5000/a/b", "1.2"));
        assert_eq!(split("host:5000/a/b"), pair("host:5000/a/b", "latest"));
        assert_eq!(split("a:b"), pair("a", "b"));
    }
}
