//! kubectl and helm as an administrator.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::process::Command;

use super::Cluster;
use super::process::{checked, output, run};

const LIMIT: Duration = Duration::from_mins(3);
const HELM_LIMIT: Duration = Duration::from_mins(5);

impl Cluster {
    /// Runs kubectl and returns what it printed; an error has what it complained about.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let result = output(self.tool("kubectl", args)?, LIMIT).await?;
        checked(&format!("kubectl {}", args.join(" ")), result)
    }

    /// Like [`Cluster::kubectl`], with a longer or shorter limit.
    pub async fn kubectl_within(&self, limit: Duration, args: &[&str]) -> Result<String> {
        let result = output(self.tool("kubectl", args)?, limit).await?;
        checked(&format!("kubectl {}", args.join(" ")), result)
    }

    /// Runs helm and returns what it printed.
    pub async fn helm(&self, args: &[&str]) -> Result<String> {
        let result = output(self.tool("helm", args)?, HELM_LIMIT).await?;
        checked(&format!("helm {}", args.join(" ")), result)
    }

    /// Applies objects from YAML, into the namespace `default` where they name none; the error is the API server's refusal.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        self.apply_in("default", yaml).await
    }

    /// Applies objects from YAML into a namespace; the error is the API server's refusal.
    pub async fn apply_in(&self, namespace: &str, yaml: &str) -> Result<()> {
        let file = tempfile::Builder::new()
            .suffix(".yaml")
            .tempfile_in(self.dir())
            .context("no file for objects")?;
        fs::write(file.path(), yaml).context("cannot write the objects")?;
        let path = file.path().to_str().context("the run's folder is not UTF-8")?;
        let args = ["-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", path];
        self.kubectl(&args).await.map(drop)
    }

    /// One object or a list, as JSON: `kubectl get ARGS -o json`.
    pub async fn get(&self, args: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], args].concat()).await?;
        serde_json::from_str(&text).context("kubectl did not print JSON")
    }

    /// Runs a program in a container and returns its output.
    pub async fn exec(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
        command: &[&str],
    ) -> Result<String> {
        let target = ["-n", namespace, "exec", pod, "-c", container, "--"];
        self.kubectl(&[target.as_slice(), command].concat()).await
    }

    /// Makes a namespace and waits for its default service account, without which no pod is admitted.
    pub async fn create_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["create", "namespace", name]).await?;
        crate::wait::wait_for("the default service account", LIMIT, async || {
            self.kubectl(&["-n", name, "get", "serviceaccount", "default"]).await
        })
        .await?;
        Ok(())
    }

    /// Removes a namespace with all that is in it. It is gone some seconds later.
    pub async fn delete_namespace(&self, name: &str) -> Result<()> {
        self.kubectl(&["delete", "namespace", name, "--wait=false", "--ignore-not-found"]).await.map(drop)
    }

    /// Runs a program on a node: in its network, with the host's files.
    pub async fn on_node(&self, node: &str, command: &[&str]) -> Result<String> {
        let name = &self.node(node)?.config.name;
        let mut nsenter = Command::new("nsenter");
        nsenter.arg(format!("--net=/run/netns/{name}")).args(command);
        run(nsenter, LIMIT).await
    }

    fn tool(&self, name: &str, args: &[&str]) -> Result<Command> {
        let program = self.bin().join(name);
        if !program.is_file() {
            bail!("{} does not exist: run cargo xtask test, which builds it", program.display());
        }
        let mut command = Command::new(program);
        // Both keep caches and settings at home; the user's own must neither matter nor change.
        command.args(args).env("KUBECONFIG", self.kubeconfig()).env("HOME", self.dir().join("home"));
        command.env_remove("XDG_CACHE_HOME").env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        Ok(command)
    }
}
