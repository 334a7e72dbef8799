//! Cluster DNS: CoreDNS as a process on the bridge, behind a service without a selector.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::pki::Pki;
use super::process::{Daemon, Spec};
use super::{CONTROL_PLANE, Cluster, SERVICE_DNS};

/// The process. It waits for the API server by itself.
pub fn start(bin: &Path, run_dir: &Path, logs: &Path, pki: &Pki) -> Result<Daemon> {
    let kubeconfig = pki.kubeconfig("dns");
    let corefile = run_dir.join("Corefile");
    let text = format!(
        ".:53 {{
  bind {CONTROL_PLANE}
  errors
  ready {CONTROL_PLANE}:8181
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {} granary
    ttl 1
  }}
}}
",
        kubeconfig.display()
    );
    fs::write(&corefile, text).with_context(|| format!("cannot write {}", corefile.display()))?;
    Spec::new("coredns", logs, bin.join("coredns")).arg("-conf").arg(corefile).start()
}

/// The service and its one endpoint.
pub async fn install(cluster: &Cluster) -> Result<()> {
    let yaml = format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: kube-dns, namespace: kube-system}}
spec:
  clusterIP: {SERVICE_DNS}
  ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: kube-dns, namespace: kube-system, labels: {{kubernetes.io/service-name: kube-dns}}}}
addressType: IPv4
ports: [{{name: dns, port: 53, protocol: UDP}}, {{name: dns-tcp, port: 53, protocol: TCP}}]
endpoints: [{{addresses: ["{CONTROL_PLANE}"]}}]
"#
    );
    cluster.apply_in("kube-system", &yaml).await.context("cannot install cluster DNS")
}
