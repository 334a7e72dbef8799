//! Kubernetes, etcd, CoreDNS and Helm, built from the Go modules in `e2e/tools`, whose `go.mod` pins them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::cache::Lock;
use crate::job;
use crate::key::Key;
use crate::setup::Session;

/// Raised when the way of building changes.
const RECIPE: u32 = 1;

/// The commands of the Kubernetes module.
const KUBERNETES: [&str; 6] =
    ["kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet"];

/// One call of `go build`.
struct Build {
    /// What the user reads.
    name: String,
    /// The module's folder below `e2e/tools`.
    module: &'static str,
    /// The program's name; empty for several, which keep their own.
    output: &'static str,
    packages: Vec<String>,
    /// Values set at link time, beside the usual ones.
    linked: String,
}

/// The name of the entry in the cache.
pub fn key(session: &Session) -> Result<String> {
    let mut key = Key::new("tools", RECIPE).text("go", &job::output(Command::new("go").arg("version"))?);
    let tools = session.root.join("e2e/tools");
    for file in ["cluster/go.mod", "cluster/go.sum", "cluster/dns/main.go", "helm/go.mod", "helm/go.sum"] {
        key = key.file(&tools.join(file))?;
    }
    for build in plan(session)? {
        key = key.text(&build.packages.join(" "), &build.linked);
    }
    Ok(key.finish())
}

/// The folder with all programs.
pub fn get(session: &Session, lock: &Lock) -> Result<PathBuf> {
    let key = key(session)?;
    if session.cache.has("tools", &key) {
        session.tell.say("Kubernetes, etcd, CoreDNS, Helm: built already");
    }
    session.cache.entry(lock, "tools", &key, |aside| {
        for build in plan(session)? {
            session.tell.step(&build.name, || run(session, &build, aside))?;
        }
        Ok(())
    })
}

fn plan(session: &Session) -> Result<Vec<Build>> {
    let cluster = fs::read_to_string(session.root.join("e2e/tools/cluster/go.mod"))?;
    let helm = fs::read_to_string(session.root.join("e2e/tools/helm/go.mod"))?;
    let kubernetes = pinned(&cluster, "k8s.io/kubernetes")?;
    let etcd = pinned(&cluster, "go.etcd.io/etcd/server/v3")?;
    let coredns = pinned(&cluster, "github.com/coredns/coredns")?;
    let helm = pinned(&helm, "helm.sh/helm/v4")?;
    let (major, minor) = major_minor(kubernetes)?;
    // Without its version the API server refuses its own defaults.
    let set = "-X k8s.io/component-base/version";
    Ok(vec![
        Build {
            name: format!("Kubernetes {kubernetes} (about 9 minutes the first time)"),
            module: "cluster",
            output: "",
            packages: KUBERNETES.iter().map(|command| format!("k8s.io/kubernetes/cmd/{command}")).collect(),
            linked: format!("{set}.gitVersion={kubernetes} {set}.gitMajor={major} {set}.gitMinor={minor}"),
        },
        Build {
            name: format!("etcd {etcd}"),
            module: "cluster",
            output: "etcd",
            packages: vec!["go.etcd.io/etcd/server/v3".to_owned()],
            linked: String::new(),
        },
        Build {
            name: format!("CoreDNS {coredns}"),
            module: "cluster",
            output: "coredns",
            packages: vec!["./dns".to_owned()],
            linked: String::new(),
        },
        Build {
            name: format!("Helm {helm}"),
            module: "helm",
            output: "helm",
            packages: vec!["helm.sh/helm/v4/cmd/helm".to_owned()],
            linked: format!("-X helm.sh/helm/v4/internal/version.version={helm}"),
        },
    ])
}

fn run(session: &Session, build: &Build, into: &Path) -> Result<()> {
    let Build { name: _, module, output, packages, linked } = build;
    let mut command = Command::new("go");
    command.current_dir(session.root.join("e2e/tools").join(module)).env("CGO_ENABLED", "0");
    // `readonly`: what is not in go.sum is not fetched.
    command.args(["build", "-trimpath", "-mod=readonly", "-o"]).arg(into.join(output));
    command.arg("-ldflags").arg(format!("-s -w {linked}")).args(packages);
    let log = format!("go-build-{}", if output.is_empty() { "kubernetes" } else { output });
    job::must(&session.tell, &session.cache.logs(), &log, &mut command)
}

/// The version of a module that a `go.mod` requires.
fn pinned<'a>(go_mod: &'a str, module: &str) -> Result<&'a str> {
    go_mod
        .lines()
        .filter(|line| !line.contains("=>"))
        .find_map(|line| {
            let mut words = line.trim().trim_start_matches("require ").split_whitespace();
            (words.next() == Some(module)).then(|| words.next()).flatten()
        })
        .with_context(|| format!("go.mod does not require {module}"))
}

fn major_minor(version: &str) -> Result<(&str, &str)> {
    let mut parts = version.trim_start_matches('v').split('.');
    parts.next().zip(parts.next()).with_context(|| format!("{version} is not a version"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_go_mod() {
        let text = "module x\nrequire one.example/a v1.2.3\nrequire (\n\ttwo.example/b v0.4.0 // indirect\n)\n\
                    replace three.example/c => three.example/c v9.9.9\n";
        assert_eq!(pinned(text, "one.example/a").unwrap(), "v1.2.3");
        assert_eq!(pinned(text, "two.example/b").unwrap(), "v0.4.0");
        assert!(pinned(text, "three.example/c").is_err());
    }

    #[test]
    fn versions_have_a_major_and_a_minor_part() {
        assert_eq!(major_minor("v1.34.4").unwrap(), ("1", "34"));
        assert!(major_minor("v1").is_err());
    }
}
