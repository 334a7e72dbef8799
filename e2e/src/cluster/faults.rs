//! What goes wrong with a machine: its cable, its processes, its disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::node::Node;
use super::process::words;
use super::{Cluster, cgroup, net};
use crate::wait::wait_for;

impl Cluster {
    /// Takes the node's cable out.
    pub async fn cut_off(&self, node: &str) -> Result<()> {
        words(&format!("ip link set {} down", net::veth(&self.node(node)?.config.name))).await.map(drop)
    }

    /// Puts the cable in again.
    pub async fn let_in(&self, node: &str) -> Result<()> {
        words(&format!("ip link set {} up", net::veth(&self.node(node)?.config.name))).await.map(drop)
    }

    /// Stops every process of the node where it is: connections stay open and nothing answers.
    pub fn pause(&self, node: &str) -> Result<()> {
        self.signal_all(node, Signal::SIGSTOP)
    }

    /// Lets a paused node go on.
    pub fn resume(&self, node: &str) -> Result<()> {
        self.signal_all(node, Signal::SIGCONT)
    }

    /// Kills every process of the node without notice, pods included, as a power cut does. Disks stay.
    pub async fn crash(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        node.processes()?.kill()?;
        wait_for("the processes of the crashed node to end", Duration::from_mins(1), async || {
            let left = containers(node);
            for pid in &left {
                send(*pid, Signal::SIGKILL)?;
            }
            if !left.is_empty() {
                bail!("{} are left", left.len());
            }
            Ok(())
        })
        .await
    }

    /// Starts a crashed node again.
    pub async fn restart(&self, node: &str) -> Result<()> {
        self.node(node)?.start().await
    }

    /// Undoes every fault apart from lost disks, and waits until all nodes are ready.
    pub async fn repair(&self) -> Result<()> {
        for node in self.nodes() {
            self.let_in(&node.name).await?;
            self.resume(&node.name)?;
            self.restart(&node.name).await?;
        }
        for node in self.nodes() {
            self.wait_ready(&node.name, Duration::from_mins(3)).await?;
        }
        Ok(())
    }

    /// Removes all below `host_path`, which must be in the run's folder: the disk is there and empty.
    ///
    /// Nodes share the host's files, so a node's disk is a folder that only its pods use.
    pub fn lose_disk(&self, host_path: &Path) -> Result<()> {
        if !host_path.starts_with(self.dir()) || host_path == self.dir() {
            bail!("{} is not in the run's folder {}", host_path.display(), self.dir().display());
        }
        let entries =
            fs::read_dir(host_path).with_context(|| format!("cannot list {}", host_path.display()))?;
        for entry in entries.flatten() {
            let path = entry.path();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }

    fn signal_all(&self, node: &str, signal: Signal) -> Result<()> {
        let node = self.node(node)?;
        node.processes()?.signal(signal)?;
        containers(node).into_iter().try_for_each(|pid| send(pid, signal))
    }
}

/// The processes of the node's pods, and containerd's shims.
fn containers(node: &Node) -> BTreeSet<i32> {
    let mut found: BTreeSet<i32> = cgroup::processes(&node.run, &node.config.name).into_iter().collect();
    let socket = node.socket.as_os_str().as_encoded_bytes();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let mut args = line.split(|byte| *byte == 0);
        let shim = args.next().is_some_and(|program| program.ends_with(b"containerd-shim-runc-v2"));
        if shim && args.any(|arg| arg == socket) {
            found.insert(pid);
        }
    }
    // A process that is dead but not yet reaped is still listed, and gone as far as anyone can tell.
    found.retain(|pid| !is_zombie(*pid));
    found
}

fn is_zombie(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // `pid (name) state …`; a name may hold anything, a parenthesis too.
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z') || rest.starts_with('X'))
}

/// A process that has just ended is no error.
fn send(pid: i32, signal: Signal) -> Result<()> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot send {signal} to process {pid}")),
    }
}
