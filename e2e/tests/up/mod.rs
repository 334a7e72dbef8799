//! A running `granary-e2e up`, looked at from outside.
#![allow(dead_code, reason = "not every program that has this module needs all of it")]

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A running `granary-e2e up` with a cache folder of its own.
pub struct Up {
    pub cache: tempfile::TempDir,
    child: RefCell<Child>,
    supervisor: String,
    mounts: usize,
}

impl Up {
    /// Starts one with these options; `None`: the tools are not there, and need not be.
    pub fn start(options: &[&OsStr]) -> Option<Self> {
        Self::start_with(options, command)
    }

    /// The same as the work of `cargo xtask`, which [`Up::signal`] then reaches, and nothing else.
    pub fn start_below_xtask() -> Option<Self> {
        Self::start_with(&[], |cache| {
            let mut xtask = Command::new(std::env::var_os("GRANARY_XTASK").unwrap());
            xtask.args(["guarded", env!("CARGO_BIN_EXE_granary-e2e")]);
            xtask.env("GRANARY_CACHE", cache).stdin(Stdio::null());
            xtask
        })
    }

    fn start_with(options: &[&OsStr], command: impl Fn(&Path) -> Command) -> Option<Self> {
        if std::env::var_os("GRANARY_BIN").is_none() {
            assert!(std::env::var_os("GRANARY_REQUIRE_TOOLS").is_none(), "GRANARY_BIN is not set");
            println!("skipped: run cargo xtask test");
            return None;
        }
        let mounts = mounts();
        // Short, since sockets are made in it and their paths are limited.
        let cache = tempfile::Builder::new().prefix("granary-up").tempdir().unwrap();
        let ready = cache.path().join("ready.json");
        let child =
            command(cache.path()).arg("up").arg("--ready-file").arg(&ready).args(options).spawn().unwrap();
        let mut up = Self { cache, child: child.into(), supervisor: String::new(), mounts };
        let start = Instant::now();
        while !ready.exists() {
            assert!(up.child.borrow_mut().try_wait().unwrap().is_none(), "the cluster did not start");
            assert!(start.elapsed() < Duration::from_mins(8), "no cluster within eight minutes");
            thread::sleep(Duration::from_millis(100));
        }
        up.supervisor = up.ready()["supervisor"].to_string();
        Some(up)
    }

    /// What the ready file says.
    pub fn ready(&self) -> serde_json::Value {
        serde_json::from_slice(&fs::read(self.cache.path().join("ready.json")).unwrap()).unwrap()
    }

    /// Sends the process that was started a signal and waits for its end.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.borrow().id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        self.child.borrow_mut().wait().unwrap();
    }

    /// Waits until no process and no mount is left.
    pub fn gone(&self) {
        let start = Instant::now();
        while !self.processes().is_empty() {
            assert!(start.elapsed() < Duration::from_mins(1), "processes are left: {:?}", self.processes());
            thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(mounts(), self.mounts, "mounts are left");
    }

    /// Processes with the run's folder in their environment or on their command line.
    pub fn processes(&self) -> Vec<String> {
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

    /// The control groups of the run.
    pub fn cgroups(&self) -> Vec<PathBuf> {
        let prefix = format!("granary-{}-", self.supervisor);
        let roots = fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
        let roots: Vec<PathBuf> = roots.chain([PathBuf::from("/sys/fs/cgroup")]).collect();
        let all = roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
        all.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
            .collect()
    }

    /// The folder of the run.
    pub fn run_dir(&self) -> PathBuf {
        self.cache.path().join("run").join(&self.supervisor)
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

/// `granary-e2e` with this cache folder.
pub fn command(cache: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_granary-e2e"));
    command.env("GRANARY_CACHE", cache).stdin(Stdio::null());
    command
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count()
}
