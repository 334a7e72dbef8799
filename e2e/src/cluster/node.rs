//! One node: its network namespace, containerd, kubelet and kube-proxy.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::Signal;
use serde_json::json;

use super::pki::Pki;
use super::process::{Daemon, Spec};
use super::{ClusterConfig, NodeConfig, POD_CIDR, SERVICE_DNS, cgroup, images, net};

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
    processes: Mutex<Processes>,
}

/// The node's own processes, as far as they were started; shims and pods are containerd's.
#[derive(Debug, Default)]
pub struct Processes {
    containerd: Option<Daemon>,
    kubelet: Option<Daemon>,
    proxy: Option<Daemon>,
}

impl Processes {
    /// An error when one has ended by itself.
    pub fn check(&mut self) -> Result<()> {
        self.all().into_iter().flatten().try_for_each(Daemon::check)
    }

    /// Sends each a signal.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.all().into_iter().flatten().try_for_each(|daemon| daemon.signal(signal))
    }

    /// Kills them. The kubelet and containerd would start again what dies, so they go before any pod.
    pub fn kill(&mut self) -> Result<()> {
        self.all().into_iter().filter_map(Option::take).try_for_each(|mut daemon| daemon.kill())
    }

    fn all(&mut self) -> [&mut Option<Daemon>; 3] {
        let Self { containerd, kubelet, proxy } = self;
        [kubelet, proxy, containerd]
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
        let processes = Processes { containerd: Some(containerd.start()?), ..Processes::default() };
        let (config, run) = (config.clone(), run.name.clone());
        Ok(Self {
            config,
            address,
            dir,
            socket,
            run,
            containerd,
            kubelet,
            proxy,
            processes: Mutex::new(processes),
        })
    }

    /// Starts what does not run, containerd first: the kubelet gives up when it is not there.
    pub async fn start(&self) -> Result<()> {
        ensure_running(&mut self.processes()?.containerd, &self.containerd)?;
        images::wait_for_containerd(&self.socket).await?;
        let mut processes = self.processes()?;
        ensure_running(&mut processes.kubelet, &self.kubelet)?;
        ensure_running(&mut processes.proxy, &self.proxy)
    }

    /// The node's processes.
    pub fn processes(&self) -> Result<MutexGuard<'_, Processes>> {
        self.processes.lock().map_err(|_| anyhow!("a test panicked while it held node {}", self.config.name))
    }
}

fn ensure_running(daemon: &mut Option<Daemon>, spec: &Spec) -> Result<()> {
    if daemon.as_mut().is_none_or(|daemon| daemon.check().is_err()) {
        *daemon = Some(spec.start()?);
    }
    Ok(())
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
