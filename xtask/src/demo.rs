//! `cargo xtask demo`, and what goes with a cluster that it left up.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::guard::{Group, Watcher};
use crate::setup::{self, Ready, Session};
use crate::{cargo, job, paths};

/// How long a cluster may take to go.
const DOWN: Duration = Duration::from_mins(1);

/// What the user can choose.
#[derive(Args)]
pub struct Options {
    /// Leave the cluster up afterwards: `cargo xtask shell` opens a shell in it, `cargo xtask down` ends it.
    #[arg(long, conflicts_with = "existing")]
    keep: bool,
    /// Use the cluster of KUBECONFIG; the options that follow say what it needs to know (`--existing --help`).
    #[arg(long)]
    existing: bool,
    /// With --existing: --operator-image NAME, --mirror-image NAME, --store-path PATH (several times), and for another
    /// cache than cache.nixos.org --upstream URL and --public-key KEY.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    rest: Vec<String>,
}

/// Sets everything up and tells the story.
pub fn command(session: &Session, options: &Options) -> Result<ExitCode> {
    let Options { keep, existing, rest } = options;
    ensure!(*existing || rest.is_empty(), "{} is not an option of the demo", rest.join(" "));
    if *keep && let Some(left) = Left::read(session)? {
        bail!(
            "a cluster is up already (process {}): `cargo xtask shell` opens a shell in it, `cargo xtask down` ends it",
            left.supervisor
        );
    }
    let ready = setup::everything(session, !existing)?;
    let mut build = cargo::command(session);
    build.args(["build", "--release", "--locked", "-p", "granary-e2e", "--bins"]);
    session.tell.step("the demo itself", || {
        job::must(&session.tell, &session.cache.logs(), "cargo build demo", &mut build)
    })?;
    let mut demo = Command::new(cargo::release(session).join("granary-demo"));
    demo.env("PATH", paths::search());
    ready.apply(session, &mut demo);
    if *keep {
        return kept(session, &ready, &demo);
    }
    if *existing {
        demo.arg("--existing");
    }
    let status = demo.args(rest).status().context("cannot start the demo")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the demo in a session of its own, shows what it says, and goes when its story is over.
fn kept(session: &Session, ready: &Ready, demo: &Command) -> Result<ExitCode> {
    let file = left_file(session);
    let log = session.cache.logs().join("demo.log");
    let output = fs::File::create(&log)?;
    // Its terminal may close while the cluster goes on.
    let mut detached = Command::new("setsid");
    detached.arg(demo.get_program()).args(["--keep", "--ready-file"]).arg(&file);
    detached.env("PATH", paths::search());
    ready.apply(session, &mut detached);
    let mut child = detached
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .context("cannot start the demo")?;
    // Until its story is over it is ours to end.
    let watcher = Watcher::over(Group::of(&child)?)?;
    let mut shown = 0;
    loop {
        // Asked first, so that nothing that is said before the end is missed.
        let ended = child.try_wait()?;
        shown += show(&log, shown)?;
        if let Some(status) = ended {
            watcher.dismiss();
            bail!("the demo ended with {status}; what it said is in {}", log.display());
        }
        if file.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    watcher.dismiss();
    println!(
        "\nThe cluster stays up.\n  \
         cargo xtask shell                                        a shell in it\n  \
         cargo xtask shell kubectl -n granary-demo get cmir,rpol  one command in it\n  \
         cargo xtask down                                         ends it and leaves nothing"
    );
    Ok(ExitCode::SUCCESS)
}

/// Prints what a file has beyond that many bytes, and says how much it was.
fn show(log: &Path, shown: usize) -> Result<usize> {
    let content = fs::read(log)?;
    let news = content.get(shown..).unwrap_or_default();
    // Whole lines only, so that no character is cut in two.
    let whole = news.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    print!("{}", String::from_utf8_lossy(&news[..whole]));
    Ok(whole)
}

/// `cargo xtask shell`: a shell, or one command, in the namespaces of the cluster that is up.
pub fn shell(session: &Session, command: &[String]) -> Result<ExitCode> {
    let left = Left::read(session)?.context("no cluster is up; `cargo xtask demo --keep` leaves one up")?;
    let mut path = left.bin.into_os_string();
    path.push(":");
    path.push(paths::search());
    let mut enter = Command::new("nsenter");
    enter.args(["--all", "--target", &left.init.to_string(), "--"]);
    enter.env("PATH", path).env("KUBECONFIG", &left.kubeconfig);
    if command.is_empty() {
        println!("KUBECONFIG is set; `exit` leaves the shell, and the cluster stays up");
        enter.arg("bash");
    } else {
        enter.args(command);
    }
    let status = enter.status().context("cannot start nsenter")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
    Ok(ExitCode::from(code))
}

/// `cargo xtask down`: ends the cluster that is up.
pub fn down(session: &Session) -> Result<ExitCode> {
    let Some(left) = Left::read(session)? else {
        session.tell.say("no cluster is up");
        return Ok(ExitCode::SUCCESS);
    };
    session.tell.step("ending the cluster", || {
        kill(Pid::from_raw(left.supervisor), Signal::SIGTERM)?;
        let began = Instant::now();
        while Path::new("/proc").join(left.supervisor.to_string()).exists() {
            ensure!(began.elapsed() < DOWN, "process {} does not end", left.supervisor);
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(fs::remove_file(left_file(session))?)
    })?;
    Ok(ExitCode::SUCCESS)
}

fn left_file(session: &Session) -> PathBuf {
    session.cache.root().join("demo.json")
}

/// A cluster that `demo --keep` left up.
struct Left {
    kubeconfig: PathBuf,
    bin: PathBuf,
    /// The process outside that the cluster lives with.
    supervisor: i32,
    /// The first process inside.
    init: i32,
}

impl Left {
    /// The cluster, when there is one. A note about one that has died since is removed.
    fn read(session: &Session) -> Result<Option<Self>> {
        let file = left_file(session);
        let Ok(text) = fs::read_to_string(&file) else { return Ok(None) };
        let left = Self::parse(&text).with_context(|| format!("{} is not ours", file.display()))?;
        let environment = fs::read(format!("/proc/{}/environ", left.init)).unwrap_or_default();
        if left.owns(&environment) {
            return Ok(Some(left));
        }
        fs::remove_file(&file)?;
        Ok(None)
    }

    fn parse(text: &str) -> Result<Self> {
        let note: Value = serde_json::from_str(text)?;
        let path = |name: &str| note[name].as_str().map(PathBuf::from).context("a path is missing");
        let process = |name: &str| {
            let id = note[name].as_i64().and_then(|id| i32::try_from(id).ok());
            id.context("a process id is missing")
        };
        Ok(Self {
            kubeconfig: path("kubeconfig")?,
            bin: path("bin")?,
            supervisor: process("supervisor")?,
            init: process("init")?,
        })
    }

    /// Whether the process that has the init's id now is still the init: its environment names the run.
    fn owns(&self, environment: &[u8]) -> bool {
        let run = format!("GRANARY_IN_NAMESPACE={}", self.supervisor);
        environment.split(|byte| *byte == 0).any(|entry| entry == run.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: &str = r#"{"kubeconfig": "/k", "bin": "/b", "supervisor": 10, "init": 12}"#;

    #[test]
    fn a_note_is_read_and_an_incomplete_one_is_not() {
        let left = Left::parse(NOTE).unwrap();
        assert_eq!((left.supervisor, left.init, left.bin), (10, 12, PathBuf::from("/b")));
        assert!(Left::parse(r#"{"kubeconfig": "/k", "bin": "/b", "supervisor": 10}"#).is_err());
    }

    #[test]
    fn another_process_with_the_same_id_is_not_taken_for_the_cluster() {
        let left = Left::parse(NOTE).unwrap();
        assert!(left.owns(b"A=b\0GRANARY_IN_NAMESPACE=10\0"));
        assert!(!left.owns(b"A=b\0GRANARY_IN_NAMESPACE=100\0"));
        assert!(!left.owns(b""));
    }

    #[test]
    fn only_whole_new_lines_are_shown() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        fs::write(&log, "one\ntwo").unwrap();
        assert_eq!(show(&log, 0).unwrap(), 4);
        assert_eq!(show(&log, 4).unwrap(), 0);
        fs::write(&log, "one\ntwo\n").unwrap();
        assert_eq!(show(&log, 4).unwrap(), 4);
    }
}
