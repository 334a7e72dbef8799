//! The bridge and each node's network namespace.

use std::time::Duration;

use anyhow::Result;

use super::CONTROL_PLANE;
use super::process::{run, words};

/// The bridge that stands for the network between the machines.
pub async fn bridge() -> Result<()> {
    words("ip link set lo up").await?;
    words("ip link add gr0 type bridge").await?;
    words(&format!("ip addr add {CONTROL_PLANE}/24 dev gr0")).await?;
    words("ip link set gr0 up").await?;
    words("sysctl -qw net.ipv4.ip_forward=1").await?;
    Ok(())
}

/// A node's network namespace with `address`, connected to the bridge by an interface named after the node.
pub async fn node(name: &str, address: &str) -> Result<()> {
    words(&format!("ip netns add {name}")).await?;
    words(&format!("ip link add {} type veth peer name eth0 netns {name}", veth(name))).await?;
    words(&format!("ip link set {} master gr0 up", veth(name))).await?;
    words(&format!("ip -n {name} link set lo up")).await?;
    words(&format!("ip -n {name} addr add {address}/24 dev eth0")).await?;
    words(&format!("ip -n {name} link set eth0 up")).await?;
    words(&format!("ip -n {name} route add default via {CONTROL_PLANE}")).await?;
    words(&format!("nsenter --net=/run/netns/{name} sysctl -qw net.ipv4.ip_forward=1")).await?;
    // Without the module there are no bridged packets for iptables to see, and nothing to switch on.
    let mut bridged = tokio::process::Command::new("nsenter");
    bridged.arg(format!("--net=/run/netns/{name}"));
    bridged.args(["sysctl", "-qw", "-e", "net.bridge.bridge-nf-call-iptables=1"]);
    run(bridged, Duration::from_secs(30)).await?;
    Ok(())
}

/// The end of a node's cable that is in the bridge.
pub fn veth(node: &str) -> String {
    format!("gr-{node}")
}
