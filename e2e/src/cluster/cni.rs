//! Pod networking: a bridge on each node, and a route to each node's pods.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::Cluster;
use super::node::Node;
use super::process::words;
use crate::wait::wait_for;

/// Waits until the controller manager has given the node its pod network, and makes it real.
pub async fn install(cluster: &Cluster, node: &Node) -> Result<()> {
    let name = &node.config.name;
    let cidr = wait_for(&format!("the pod network of {name}"), Duration::from_mins(3), async || {
        if let Err(ended) = cluster.check_processes(name) {
            // The kubelets share one socket for device plugins: of two that take it at the same moment, one gives up.
            node.start().await?;
            return Err(ended);
        }
        let cidr = cluster.kubectl(&["get", "node", name, "-o", "jsonpath={.spec.podCIDR}"]).await?;
        if cidr.is_empty() {
            bail!("the node has no pod network yet");
        }
        Ok(cidr)
    })
    .await?;
    words(&format!("ip route add {cidr} via {}", node.address)).await?;
    let list = json!({
        "cniVersion": "0.4.0",
        "name": "granary",
        "plugins": [
            {
                "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
                "ipam": {
                    "type": "host-local", "dataDir": node.dir.join("ipam"),
                    "ranges": [[{"subnet": cidr}]], "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    });
    // containerd 1.6 sees a file that is written and not one that is moved here.
    let file = node.dir.join("cni/10-granary.conflist");
    fs::write(&file, list.to_string()).with_context(|| format!("cannot write {}", file.display()))
}
