//! One authority, one certificate, one key for service accounts, and a token for everyone else.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::process::words;
use super::{CONTROL_PLANE, NodeConfig, SERVICE_API};

/// The files of the cluster's keys.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Makes everything in `<run>/pki`, and a kubeconfig for each user beside it.
    pub async fn create(run_dir: &Path, nodes: &[NodeConfig]) -> Result<Self> {
        let dir = run_dir.join("pki");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let pki = Self { dir };
        pki.certificates().await?;
        let mut users = vec![
            User::new("admin", "admin", "system:masters"),
            User::new("controller-manager", "system:kube-controller-manager", ""),
            User::new("scheduler", "system:kube-scheduler", ""),
            User::new("proxy", "system:kube-proxy", ""),
            User::new("dns", "dns", "system:masters"),
        ];
        users.extend(nodes.iter().map(|node| {
            let NodeConfig { name, region: _, zone: _ } = node;
            User::new(name, &format!("system:node:{name}"), "system:nodes")
        }));
        let tokens: String = users.iter().map(User::token_line).collect();
        pki.write("tokens.csv", &tokens)?;
        for user in &users {
            pki.write(&format!("{}.kubeconfig", user.file), &pki.kubeconfig_text(user))?;
        }
        Ok(pki)
    }

    /// The path of one file.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The path of a user's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.dir.join(format!("{user}.kubeconfig"))
    }

    async fn certificates(&self) -> Result<()> {
        let dir = self.dir.to_str().context("the run's folder is not UTF-8")?;
        let curve = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let ca = format!(
            "openssl req -x509 {curve} -keyout {dir}/ca.key -out {dir}/ca.crt -days 10 -subj /CN=granary-ca"
        );
        words(&ca).await?;
        // In `system:masters`, since the API server shows this one to the kubelets too.
        let api = format!(
            "openssl req {curve} -keyout {dir}/api.key -out {dir}/api.csr -subj /O=system:masters/CN=api"
        );
        words(&api).await?;
        self.write("api.ext", &format!(
            "subjectAltName=IP:{CONTROL_PLANE},IP:127.0.0.1,IP:{SERVICE_API},DNS:kubernetes,DNS:kubernetes.default.svc"
        ))?;
        words(&format!(
            "openssl x509 -req -in {dir}/api.csr -CA {dir}/ca.crt -CAkey {dir}/ca.key -CAcreateserial \
             -out {dir}/api.crt -days 10 -extfile {dir}/api.ext"
        ))
        .await?;
        words(&format!("openssl ecparam -name prime256v1 -genkey -noout -out {dir}/sa.key")).await?;
        words(&format!("openssl ec -in {dir}/sa.key -pubout -out {dir}/sa.pub")).await?;
        Ok(())
    }

    fn kubeconfig_text(&self, user: &User) -> String {
        let ca = self.file("ca.crt");
        let User { file, name: _, group: _ } = user;
        format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: granary, cluster: {{server: \"https://{CONTROL_PLANE}:6443\", certificate-authority: {}}}}}]
users: [{{name: {file}, user: {{token: {file}-token}}}}]
contexts: [{{name: granary, context: {{cluster: granary, user: {file}}}}}]
current-context: granary
",
            ca.display()
        )
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let file = self.file(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }
}

struct User {
    file: String,
    name: String,
    group: String,
}

impl User {
    fn new(file: &str, name: &str, group: &str) -> Self {
        Self { file: file.into(), name: name.into(), group: group.into() }
    }

    /// `token,user name,user id,groups`, as the API server reads it.
    fn token_line(&self) -> String {
        let Self { file, name, group } = self;
        if group.is_empty() {
            return format!("{file}-token,{name},{file}\n");
        }
        format!("{file}-token,{name},{file},{group}\n")
    }
}
