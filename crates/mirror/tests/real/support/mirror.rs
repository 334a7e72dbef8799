//! Running mirrors.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use granary_placement::report::Report;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, Response, StatusCode};

use super::log::lines_of;
use super::{Artifact, Site, client, eventually, header, in_time, lines, nar_name, verified};

/// `granary-mirror run`, ended with the value.
pub struct Mirror {
    child: Child,
    log: PathBuf,
    client: Client,
    pub site: Site,
}

impl Mirror {
    /// Starts it with the configuration that was written for the site.
    pub fn run(site: Site) -> Self {
        Self::run_with(site, &[])
    }

    /// With these variables in its environment.
    pub fn run_with(site: Site, variables: &[(&str, &str)]) -> Self {
        let log = site.base.join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_granary-mirror"))
            .args(["run", "--config"])
            .arg(site.config())
            .envs(variables.iter().copied())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, client: client(), site }
    }

    /// Below a shell that was told this about its limits, and without the right to raise them.
    pub fn run_below(site: Site, limits: &str) -> Self {
        let log = site.base.join("log");
        let script =
            format!("{limits} && exec setpriv --bounding-set -sys_resource --inh-caps -sys_resource \"$@\"");
        let child = Command::new("sh")
            .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_granary-mirror"), "run", "--config"])
            .arg(site.config())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, client: client(), site }
    }

    pub fn url(&self) -> String {
        self.site.url()
    }

    pub fn agent(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.site.agent)
    }

    /// What nginx answers for this path.
    pub async fn get(&self, path: &str) -> Response {
        self.try_get(path).await.unwrap()
    }

    /// The same, where it may not be there.
    pub async fn try_get(&self, path: &str) -> reqwest::Result<Response> {
        self.client.get(format!("{}/{path}", self.url())).send().await
    }

    pub async fn status(&self, path: &str) -> StatusCode {
        self.get(path).await.status()
    }

    /// What is answered with success and comes whole.
    pub async fn body(&self, path: &str) -> Option<Vec<u8>> {
        let answer = self.try_get(path).await.ok()?.error_for_status().ok()?;
        Some(answer.bytes().await.ok()?.to_vec())
    }

    /// Where the artifact's NAR is, as its narinfo says here.
    pub async fn nar_name(&self, artifact: &Artifact) -> String {
        let narinfo = self.get(&artifact.narinfo()).await.error_for_status().unwrap();
        nar_name(&narinfo.text().await.unwrap())
    }

    pub async fn metrics(&self) -> String {
        self.client.get(self.agent("/metrics")).send().await.unwrap().text().await.unwrap()
    }

    /// All of these lines are among the metrics.
    pub async fn has_metrics(&self, lines: &[&str]) {
        let metrics = self.metrics().await;
        for line in lines {
            assert!(metrics.lines().any(|have| have == *line), "{line} is not in\n{metrics}");
        }
    }

    /// Waits until this line is among the metrics.
    pub async fn until_metric(&self, line: &str) {
        eventually(line, async || self.metrics().await.lines().any(|have| have == line).then_some(())).await;
    }

    /// The tree is a valid cache; what `verify` says of it.
    pub fn verified(&self, key: &str) -> String {
        verified(&self.site.tree(), key)
    }

    pub async fn report(&self) -> Option<Report> {
        let answer = self.client.get(self.agent("/granary/v1/report")).send().await.ok()?;
        Report::from_json(&answer.bytes().await.ok()?).ok()
    }

    /// Waits until the report is what is wanted and nginx answers.
    pub async fn until(&self, what: &str, mut wanted: impl FnMut(&Report) -> bool) -> Report {
        let found = in_time(async || {
            let report = self.report().await?;
            let health = self.try_get("granary/v1/healthz").await.ok()?;
            (wanted(&report) && health.status().is_success()).then_some(report)
        });
        match found.await {
            Some(report) => report,
            None => panic!("{what}: {:?}", self.report().await),
        }
    }

    /// Waits until it names another place for this artifact: nginx hears of the entries after the report says that all is here.
    pub async fn names(&self, artifact: &Artifact, other: &str) {
        eventually("the other mirror is named", async || {
            let answer = self.try_get(&artifact.narinfo()).await.ok()?;
            header(&answer, "link").contains(other).then_some(())
        })
        .await;
    }

    pub async fn synced(&self) -> Report {
        let synced = |report: &Report| {
            !report.policies.is_empty() && report.policies.iter().all(|policy| policy.synced)
        };
        self.until("synced", synced).await
    }

    /// Waits until it says that it can serve.
    pub async fn ready(&self) {
        eventually("ready", async || {
            let answer = self.client.get(self.agent("/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }

    /// The lines of its log, which is JSON, once they say what became of each of these: what is seen from outside comes a
    /// moment before the line.
    pub async fn lines_about(&self, paths: &[&str]) -> Vec<serde_json::Value> {
        eventually("each has a line in the log", async || {
            let lines = lines(&self.log());
            paths.iter().all(|path| !lines_of(&lines, path).is_empty()).then_some(lines)
        })
        .await
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
