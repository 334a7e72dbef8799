//! One node: its network namespace, containerd, kubelet and kube-proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::pki::Pki;
use super::process::{Daemon, Spec};
use super::{ClusterConfig, NodeConfig, POD_CIDR, SERVICE_DNS, cgroup, net};

/// A node and its processes.
#[derive(Debug)]
pub struct Node {
    pub config: NodeConfig,
    /// The node's own address on the bridge.
    pub address: String,
    /// Everything that the node writes, apart from host paths of pods.
    pub dir: PathBuf,
    /// containerd's socket.
    pub socket: PathBuf,
    /// The run's name, which the cgroup has too.
    pub run: String,
    containerd: Spec,
    kubelet: Spec,
    proxy: Spec,
    state: Mutex<NodeState>,
}

/// Whether the node's processes are there.
#[derive(Debug)]
pub enum NodeState {
    Running(Box<Processes>),
    Crashed,
}

/// The node's own processes; shims and pods are containerd's.
#[derive(Debug)]
pub struct Processes {
    pub containerd: Daemon,
    /// Absent only while the cluster starts: they need the API server.
    pub kubelet: Option<Daemon>,
    pub proxy: Option<Daemon>,
}

impl Processes {
    /// All that run.
    pub fn all(&mut self) -> impl Iterator<Item = &mut Daemon> {
        let Self { containerd, kubelet, proxy } = self;
        [Some(containerd), kubelet.as_mut(), proxy.as_mut()].into_iter().flatten()
    }

    /// An error when one has ended.
    pub fn check(&mut self) -> Result<()> {
        self.all().try_for_each(Daemon::check)
    }
}

impl Node {
    /// Makes the network namespace, the folder and the cgroup, and starts containerd.
    pub async fn create(
        cluster: &ClusterConfig,
        pki: &Pki,
        config: &NodeConfig,
        index: usize,
        pause_image: &str,
    ) -> Result<Self> {
        let NodeConfig { name, region, zone } = config;
        let ClusterConfig { bin, images: _, run, nodes: _ } = cluster;
        let address = format!("10.77.0.{}", index + 11);
        let dir = run.dir.join(name);
        let logs = run.dir.join("log");
        for folder in ["cni", "kubelet"] {
            fs::create_dir_all(dir.join(folder))
                .with_context(|| format!("cannot create {folder} of {name}"))?;
        }
        let socket = dir.join("containerd.sock");
        write(&dir.join("containerd.toml"), &containerd_config(&dir, &socket, pause_image))?;
        write(
            &dir.join("kubelet.json"),
            &kubelet_config(&dir, &socket, pki, &cgroup::name(&run.name, name)),
        )?;
        write(&dir.join("resolv.conf"), &format!("nameserver {}\n", super::CONTROL_PLANE))?;
        net::node(name, &address).await?;
        cgroup::create(&run.name, name)?;

        let containerd = Spec::in_netns(&format!("containerd-{name}"), &logs, name, "containerd")
            .arg("-c")
            .arg(dir.join("containerd.toml"));
        let kubelet = Spec::in_netns(&format!("kubelet-{name}"), &logs, name, bin.join("kubelet"))
            .arg(format!("--config={}", dir.join("kubelet.json").display()))
            .arg(format!("--kubeconfig={}", pki.kubeconfig(name).display()))
            .arg(format!("--root-dir={}", dir.join("kubelet").display()))
            .arg(format!("--cert-dir={}", dir.join("kubelet/pki").display()))
            .arg(format!("--hostname-override={name}"))
            .arg(format!("--node-ip={address}"))
            .arg(format!(
                "--node-labels=topology.kubernetes.io/region={region},topology.kubernetes.io/zone={zone}"
            ));
        let proxy = Spec::in_netns(&format!("kube-proxy-{name}"), &logs, name, bin.join("kube-proxy"))
            .arg(format!("--kubeconfig={}", pki.kubeconfig("proxy").display()))
            .arg(format!("--hostname-override={name}"))
            .arg(format!("--bind-address={address}"))
            .arg(format!("--cluster-cidr={POD_CIDR}"))
            .args(["--proxy-mode=nftables", "--conntrack-max-per-core=0"]);
        let state = NodeState::Running(Box::new(Processes {
            containerd: containerd.start()?,
            kubelet: None,
            proxy: None,
        }));
        let (config, run) = (config.clone(), run.name.clone());
        Ok(Self { config, address, dir, socket, run, containerd, kubelet, proxy, state: Mutex::new(state) })
    }

    /// Starts kubelet and kube-proxy beside the running containerd.
    pub fn start_kubelet(&self) -> Result<()> {
        if let NodeState::Running(processes) = &mut *self.state()? {
            processes.kubelet = Some(self.kubelet.start()?);
            processes.proxy = Some(self.proxy.start()?);
        }
        Ok(())
    }

    /// Starts everything, as after the machine was switched on again.
    pub fn start_all(&self) -> Result<()> {
        let mut state = self.state()?;
        if matches!(*state, NodeState::Crashed) {
            *state = NodeState::Running(Box::new(Processes {
                containerd: self.containerd.start()?,
                kubelet: Some(self.kubelet.start()?),
                proxy: Some(self.proxy.start()?),
            }));
        }
        Ok(())
    }

    /// The node's processes.
    pub fn state(&self) -> Result<MutexGuard<'_, NodeState>> {
        self.state.lock().map_err(|_| anyhow!("a test panicked while it held node {}", self.config.name))
    }
}

/// `restrict_oom_score_adj`: where root lacks `CAP_SYS_RESOURCE`, no container could start without it.
fn containerd_config(dir: &Path, socket: &Path, pause_image: &str) -> String {
    let dir = dir.display();
    let socket = socket.display();
    format!(
        r#"version = 2
root = "{dir}/containerd"
state = "{dir}/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{dir}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  restrict_oom_score_adj = true
  sandbox_image = "{pause_image}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{dir}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"#
    )
}

/// Eviction by disk use is off: the disk is the host's, and how full it is says nothing about the node.
fn kubelet_config(dir: &Path, socket: &Path, pki: &Pki, cgroup: &str) -> String {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": true,
        "cgroupRoot": format!("/{cgroup}"),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": pki.file("ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDNS": [SERVICE_DNS],
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": format!("unix://{}", socket.display()),
        "imageMinimumGCAge": "24h",
        "imageGCHighThresholdPercent": 100,
        "localStorageCapacityIsolation": false,
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%", "nodefs.inodesFree": "0%",
        },
        "podLogsDir": dir.join("podlogs"),
        "volumePluginDir": dir.join("volume-plugins"),
        "nodeStatusUpdateFrequency": "4s",
        "syncFrequency": "10s",
        "resolvConf": dir.join("resolv.conf"),
    })
    .to_string()
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
