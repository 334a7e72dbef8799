//! etcd, the API server, the controller manager, the scheduler and DNS.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::pki::Pki;
use super::process::{Daemon, Spec};
use super::{CONTROL_PLANE, POD_CIDR, SERVICE_CIDR, dns};

/// The processes of the control plane.
#[derive(Debug)]
pub struct ControlPlane {
    daemons: Vec<Daemon>,
}

impl ControlPlane {
    /// Starts everything at once: each waits for what it needs.
    pub fn start(bin: &Path, run_dir: &Path, pki: &Pki) -> Result<Self> {
        let logs = run_dir.join("log");
        let data = run_dir.join("etcd");
        fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
        let mut daemons = Vec::new();
        for spec in [
            etcd(bin, &logs, &data),
            api_server(bin, &logs, pki),
            controller_manager(bin, &logs, pki),
            scheduler(bin, &logs, pki),
        ] {
            daemons.push(spec.start()?);
        }
        daemons.push(dns::start(bin, run_dir, &logs, pki)?);
        Ok(Self { daemons })
    }

    /// An error when one has ended.
    pub fn check(&mut self) -> Result<()> {
        self.daemons.iter_mut().try_for_each(Daemon::check)
    }
}

fn etcd(bin: &Path, logs: &Path, data: &Path) -> Spec {
    Spec::new("etcd", logs, bin.join("etcd"))
        .arg("--data-dir")
        .arg(data)
        .args([
            "--listen-client-urls",
            "http://127.0.0.1:2379",
            "--advertise-client-urls",
            "http://127.0.0.1:2379",
        ])
        .args(["--listen-peer-urls", "http://127.0.0.1:2380", "--unsafe-no-fsync"])
}

fn api_server(bin: &Path, logs: &Path, pki: &Pki) -> Spec {
    let file = |flag: &str, name: &str| format!("--{flag}={}", pki.file(name).display());
    Spec::new("kube-apiserver", logs, bin.join("kube-apiserver"))
        .args([
            "--etcd-servers=http://127.0.0.1:2379",
            "--allow-privileged",
            "--authorization-mode=Node,RBAC",
        ])
        .args(["--secure-port=6443", "--profiling=false", "--kubelet-preferred-address-types=InternalIP"])
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .arg(format!("--service-cluster-ip-range={SERVICE_CIDR}"))
        .arg(format!("--advertise-address={CONTROL_PLANE}"))
        .arg(file("tls-cert-file", "api.crt"))
        .arg(file("tls-private-key-file", "api.key"))
        .arg(file("token-auth-file", "tokens.csv"))
        .arg(file("client-ca-file", "ca.crt"))
        .arg(file("service-account-key-file", "sa.pub"))
        .arg(file("service-account-signing-key-file", "sa.key"))
        .arg(file("kubelet-client-certificate", "api.crt"))
        .arg(file("kubelet-client-key", "api.key"))
}

/// The two times make a silent node known after 15 to 19 seconds instead of 40 and more.
fn controller_manager(bin: &Path, logs: &Path, pki: &Pki) -> Spec {
    Spec::new("kube-controller-manager", logs, bin.join("kube-controller-manager"))
        .arg(format!("--kubeconfig={}", pki.kubeconfig("controller-manager").display()))
        .arg(format!("--cluster-cidr={POD_CIDR}"))
        .arg(format!("--service-cluster-ip-range={SERVICE_CIDR}"))
        .arg(format!("--service-account-private-key-file={}", pki.file("sa.key").display()))
        .arg(format!("--root-ca-file={}", pki.file("ca.crt").display()))
        .args(["--allocate-node-cidrs", "--use-service-account-credentials", "--leader-elect=false"])
        .args(["--node-monitor-period=2s", "--node-monitor-grace-period=16s"])
}

fn scheduler(bin: &Path, logs: &Path, pki: &Pki) -> Spec {
    Spec::new("kube-scheduler", logs, bin.join("kube-scheduler"))
        .arg(format!("--kubeconfig={}", pki.kubeconfig("scheduler").display()))
        .arg("--leader-elect=false")
}
