//! Running mirrors.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use granary_placement::report::Report;
use granary_placement::{CompiledMap, Mirror as MapMirror, MirrorMap, MirrorState, Policy};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{eventually, free_port};

/// Where one mirror is and listens.
pub struct Site {
    pub name: String,
    pub base: PathBuf,
    pub http: u16,
    pub agent: u16,
}

impl Site {
    pub fn new(base: &Path, name: &str) -> Self {
        let base = base.join(name);
        std::fs::create_dir_all(&base).unwrap();
        Self { name: name.into(), base, http: free_port(), agent: free_port() }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub fn tree(&self) -> PathBuf {
        self.base.join("tree")
    }
}

/// A configuration for the site; `more` is YAML that follows.
pub fn config(site: &Site, upstream: &str, key: &str, more: &str) -> PathBuf {
    let Site { name, http, agent, .. } = site;
    let yaml = format!(
        "name: {name}\ndirectory: {}\nupstreams: [{{url: '{upstream}', publicKeys: ['{key}']}}]\n\
         listen: {{http: '127.0.0.1:{http}', agent: '127.0.0.1:{agent}'}}\nsyncSeconds: 1\n{more}\n",
        site.tree().display()
    );
    let path = site.base.join("config.yaml");
    std::fs::write(&path, yaml).unwrap();
    path
}

/// A map of these mirrors, all of them serving and selected by one policy with these roots.
pub fn map_of(epoch: u64, sites: &[&Site], target: u8, roots: &[&str]) -> CompiledMap {
    let mirror = |site: &&Site| MapMirror {
        name: site.name.parse().unwrap(),
        disk: None,
        node: None,
        region: None,
        zone: None,
        organization: None,
        weight: 1,
        url: Some(site.url()),
        internal_url: site.url(),
        state: MirrorState::Serving,
    };
    let policy = Policy {
        name: "test".into(),
        mirrors: sites.iter().map(|site| site.name.parse().unwrap()).collect(),
        target,
        spread: vec![],
        store_paths: roots.iter().map(|&root| root.to_owned()).collect(),
        channels: vec![],
        retention: None,
    };
    CompiledMap::build(MirrorMap {
        epoch,
        namespace: "granary".into(),
        mirrors: sites.iter().map(mirror).collect(),
        policies: vec![policy],
        table_hash: String::new(),
    })
    .unwrap()
}

/// `granary-mirror run`, ended with the value.
pub struct Mirror {
    child: Child,
    log: PathBuf,
    pub site: Site,
}

impl Mirror {
    pub fn run(site: Site, config: &Path) -> Self {
        Self::run_with(site, config, &[])
    }

    /// With these variables in its environment.
    pub fn run_with(site: Site, config: &Path, variables: &[(&str, &str)]) -> Self {
        let log = site.base.join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_granary-mirror"))
            .args(["run", "--config"])
            .arg(config)
            .envs(variables.iter().copied())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, site }
    }

    /// Below a shell that was told this about its limits, and without the right to raise them.
    pub fn run_below(site: Site, config: &Path, limits: &str) -> Self {
        let log = site.base.join("log");
        let limits = if limits.is_empty() { "true" } else { limits };
        let script =
            format!("{limits} && exec setpriv --bounding-set -sys_resource --inh-caps -sys_resource \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_granary-mirror"), "run", "--config"])
            .arg(config)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, site }
    }

    pub fn url(&self) -> String {
        self.site.url()
    }

    pub fn agent(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.site.agent)
    }

    pub async fn report(&self, client: &reqwest::Client) -> Option<Report> {
        let answer = client.get(self.agent("/granary/v1/report")).send().await.ok()?;
        Report::from_json(&answer.bytes().await.ok()?).ok()
    }

    /// Waits until the report is what is wanted and nginx answers.
    pub async fn until(
        &self,
        client: &reqwest::Client,
        what: &str,
        mut wanted: impl FnMut(&Report) -> bool,
    ) -> Report {
        let found = eventually(what, async || {
            let report = self.report(client).await?;
            let health = client.get(format!("{}/granary/v1/healthz", self.url())).send().await.ok()?;
            (wanted(&report) && health.status().is_success()).then_some(report)
        });
        if let Ok(report) = tokio::time::timeout(Duration::from_secs(50), found).await {
            return report;
        }
        panic!("{what}: {:?}\n{}", self.report(client).await, self.log())
    }

    pub async fn synced(&self, client: &reqwest::Client) -> Report {
        let synced = |report: &Report| {
            !report.policies.is_empty() && report.policies.iter().all(|policy| policy.synced)
        };
        self.until(client, "synced", synced).await
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// nginx's master process.
    pub fn nginx(&self) -> Option<Pid> {
        let text = std::fs::read_to_string(self.site.tree().join(".granary/front/nginx.pid")).ok()?;
        text.trim().parse().ok().map(Pid::from_raw)
    }

    /// SIGKILL: nothing is tidied up, and nginx stays behind.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// SIGSTOP: the agent takes connections in, and does nothing. Returns when all its threads have stopped.
    pub fn hang(&self) {
        kill(self.pid(), Signal::SIGSTOP).unwrap();
        let stopped = |thread: std::io::Result<std::fs::DirEntry>| {
            let stat = std::fs::read_to_string(thread.unwrap().path().join("stat"));
            // One that ends in between has none.
            stat.map_or(true, |stat| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        };
        let threads = format!("/proc/{}/task", self.pid());
        while !std::fs::read_dir(&threads).unwrap().all(stopped) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        kill(self.pid(), Signal::SIGTERM).unwrap();
        // It may hang.
        kill(self.pid(), Signal::SIGCONT).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.stop();
        }
        // A killed one leaves its nginx, and with it the pid file.
        if let Some(pid) = self.nginx()
            && std::fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|title| title.contains(self.site.tree().to_str().unwrap()))
        {
            // It may end by itself in between.
            let _ = kill(pid, Signal::SIGTERM);
        }
        if std::thread::panicking() {
            println!("--- log of {}\n{}", self.site.name, self.log());
        }
    }
}
