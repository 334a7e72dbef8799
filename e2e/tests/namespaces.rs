//! However a cluster ends, nothing of it is left: looked at from outside.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn an_ended_cluster_leaves_nothing() {
    let Some(cluster) = Up::start() else { return };
    assert!(
        !cluster.processes().is_empty() && !cluster.cgroups().is_empty(),
        "the test looks in the wrong place"
    );
    cluster.signal(Signal::SIGTERM);
    cluster.gone();
    assert_eq!(cluster.cgroups(), Vec::<PathBuf>::new());
    assert!(!cluster.run_dir().exists(), "{} is left", cluster.run_dir().display());
    assert!(cluster.cache.path().join("log/kubelet-n1.log").exists(), "the logs are gone");
}

#[test]
fn a_killed_supervisor_leaves_no_process_and_the_next_start_tidies_up() {
    let Some(cluster) = Up::start() else { return };
    cluster.signal(Signal::SIGKILL);
    cluster.gone();
    assert!(!cluster.cgroups().is_empty(), "who has removed them?");
    let status = command(cluster.cache.path()).arg("cleanup").status().unwrap();
    assert!(status.success());
    assert_eq!(cluster.cgroups(), Vec::<PathBuf>::new());
    assert!(!cluster.run_dir().exists(), "{} is left", cluster.run_dir().display());
}

/// A running `granary-e2e up` with a cache folder of its own.
struct Up {
    cache: tempfile::TempDir,
    child: std::cell::RefCell<Child>,
    mounts: usize,
}

impl Up {
    fn start() -> Option<Self> {
        if std::env::var_os("GRANARY_BIN").is_none() {
            assert!(std::env::var_os("GRANARY_REQUIRE_TOOLS").is_none(), "GRANARY_BIN is not set");
            println!("skipped: run cargo xtask test");
            return None;
        }
        let mounts = mounts();
        // Short, since sockets are made in it and their paths are limited.
        let cache = tempfile::Builder::new().prefix("granary-up").tempdir().unwrap();
        let ready = cache.path().join("ready.json");
        let child = command(cache.path()).arg("up").arg("--ready-file").arg(&ready).spawn().unwrap();
        let up = Self { cache, child: child.into(), mounts };
        let start = Instant::now();
        while !ready.exists() {
            assert!(up.child.borrow_mut().try_wait().unwrap().is_none(), "the cluster did not start");
            assert!(start.elapsed() < Duration::from_mins(2), "no cluster within two minutes");
            thread::sleep(Duration::from_millis(100));
        }
        Some(up)
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.borrow().id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        self.child.borrow_mut().wait().unwrap();
    }

    /// Waits until no process and no mount is left.
    fn gone(&self) {
        let start = Instant::now();
        while !self.processes().is_empty() {
            assert!(start.elapsed() < Duration::from_secs(10), "processes are left: {:?}", self.processes());
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(mounts(), self.mounts, "mounts are left");
    }

    /// Processes with the run's folder in their environment or on their command line.
    fn processes(&self) -> Vec<String> {
        let needle = self.cache.path().as_os_str().as_encoded_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let mut text = fs::read(entry.path().join("environ")).unwrap_or_default();
            text.extend(fs::read(entry.path().join("cmdline")).unwrap_or_default());
            if text.windows(needle.len()).any(|part| part == needle) {
                found.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        found
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let prefix = format!("granary-{}-", self.child.borrow().id());
        let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let roots: Vec<PathBuf> = roots.chain([PathBuf::from("/sys/fs/cgroup")]).collect();
        let all = roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
        all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect()
    }

    fn run_dir(&self) -> PathBuf {
        self.cache.path().join("run").join(self.child.borrow().id().to_string())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // A test that failed half-way must not leave a cluster either.
        let _ = self.child.borrow_mut().kill();
        let _ = self.child.borrow_mut().wait();
        let _ = command(self.cache.path()).arg("cleanup").status();
    }
}

fn command(cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_granary-e2e"));
    command.env("GRANARY_CACHE", cache).stdin(Stdio::null());
    command
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count()
}
