//! What a command started does not outlive it, whoever ends it and how.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts a child of its own, says that both are there, and tidies up when it is asked to end.
const TIDY: &str = "trap 'sleep 0.3; echo > tidied; exit 3' TERM
sleep 1000 & echo > begun; wait";

/// Does not end when it is asked to.
const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo > begun; wait";

struct Guarded {
    front: Child,
    dir: tempfile::TempDir,
}

impl Guarded {
    fn start(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["guarded", "sh", "-c", script]).current_dir(dir.path());
        // By what its processes are known.
        command.env("GRANARY_TEST_MARK", dir.path());
        let guarded = Self { front: command.spawn().unwrap(), dir };
        until("the work begins", || guarded.file("begun").exists());
        // One that is becoming another program has no environment for a moment.
        until("front, watcher, shell and sleep are there", || guarded.alive() >= 4);
        guarded
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.front.id()).unwrap()), signal).unwrap();
    }

    /// How many processes with the mark there are.
    fn alive(&self) -> usize {
        let mark = format!("GRANARY_TEST_MARK={}", self.dir.path().display());
        let marked = |entry: &fs::DirEntry| {
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        };
        fs::read_dir("/proc").unwrap().flatten().filter(marked).count()
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_mins(1), "not within a minute: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_signal_to_the_command_alone_ends_all_that_it_started_first() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut guarded = Guarded::start(TIDY);
        guarded.signal(signal);
        let status = guarded.front.wait().unwrap();
        assert!(guarded.file("tidied").exists(), "{signal}: the work had no time to tidy up");
        assert_eq!(guarded.alive(), 0, "{signal}");
        assert_eq!(status.code(), Some(128 + signal as i32));
    }
}

#[test]
fn what_a_killed_command_started_ends_too() {
    let mut guarded = Guarded::start(TIDY);
    guarded.signal(Signal::SIGKILL);
    guarded.front.wait().unwrap();
    until("all end", || guarded.alive() == 0);
    assert!(guarded.file("tidied").exists(), "the work had no time to tidy up");
}

#[test]
fn what_does_not_end_is_killed() {
    let mut guarded = Guarded::start(STUBBORN);
    guarded.signal(Signal::SIGTERM);
    guarded.front.wait().unwrap();
    assert_eq!(guarded.alive(), 0);
}

#[test]
fn work_that_ends_says_how_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["guarded", "sh", "-c", script]).current_dir(dir.path()).status().unwrap()
    };
    assert_eq!(run("exit 7").code(), Some(7));
    assert_eq!(run("kill -9 $$").code(), Some(128 + 9));
    assert!(run("sleep 1000 & echo $! > left").success());
    let left = fs::read_to_string(dir.path().join("left")).unwrap();
    assert!(!runs(left.trim()), "process {left} is left");
}

fn runs(process: &str) -> bool {
    let status = fs::read_to_string(Path::new("/proc").join(process).join("stat")).unwrap_or_default();
    status.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
