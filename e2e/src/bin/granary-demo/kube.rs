//! kubectl and helm on the demo's cluster, whichever it is.

use std::path::PathBuf;
use std::process::{Output, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// The two programs and what they act on.
pub struct Kube {
    /// The folder of both.
    pub bin: PathBuf,
    /// The cluster; absent: as the user's environment says.
    pub kubeconfig: Option<PathBuf>,
}

impl Kube {
    /// Runs kubectl; the error has what it complained about.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        said("kubectl", args, &self.command("kubectl", args).output().await.context("cannot start kubectl")?)
    }

    /// Runs helm; the error has what it complained about.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        said("helm", args, &self.command("helm", args).output().await.context("cannot start helm")?)
    }

    /// Applies objects; the error is the API server's refusal.
    pub async fn apply(&self, namespace: &str, yaml: &str) -> Result<String> {
        let args = ["-n", namespace, "apply", "-f", "-"];
        let mut kubectl = self.command("kubectl", &args);
        let mut child = kubectl.stdin(Stdio::piped()).spawn().context("cannot start kubectl")?;
        let mut stdin = child.stdin.take().context("kubectl has no input")?;
        stdin.write_all(yaml.as_bytes()).await.context("kubectl does not read")?;
        drop(stdin);
        said("kubectl", &args, &child.wait_with_output().await.context("kubectl is gone")?)
    }

    /// `kubectl get ARGS -o json`.
    pub async fn get(&self, args: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], args].concat()).await?;
        serde_json::from_str(&text).context("kubectl did not print JSON")
    }

    /// A command that has not been started.
    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(kubeconfig) = &self.kubeconfig {
            command.env("KUBECONFIG", kubeconfig);
        }
        command.kill_on_drop(true);
        command
    }
}

fn said(program: &str, args: &[&str], output: &Output) -> Result<String> {
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {}: {}", args.join(" "), complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
