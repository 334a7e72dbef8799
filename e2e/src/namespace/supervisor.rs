//! The process outside, which outlives the namespaces to tidy up after them.

use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::geteuid;

use super::{INIT_PID, INSIDE, RUN_DIR, exit_code, leftovers};
use crate::paths;

/// Starts the init in new namespaces, waits for it, tidies up, and returns its exit code.
pub fn run() -> Result<ExitCode> {
    if !geteuid().is_root() {
        bail!("a cluster needs namespaces and cgroups of its own: run this as root");
    }
    leftovers::remove_leftovers()?;
    let name = std::process::id().to_string();
    let dir = paths::cache()?.join("run").join(&name);
    fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;

    // From here on signals are read, not obeyed, so that the cgroups are removed also after a Ctrl-C.
    let signals = super::signals();
    signals.thread_block().context("cannot block signals")?;
    let mut child = unshare(&name, &dir)?;
    let status = wait(&mut child, &dir, &signals);
    leftovers::remove_run(&name)?;
    Ok(exit_code(status?))
}

/// `setpriv --pdeathsig` ties unshare's life to ours, `--kill-child` the init's life to unshare's.
fn unshare(name: &str, dir: &Path) -> Result<Child> {
    let program = env::current_exe().context("cannot tell the path of this program")?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"])
        .arg("--mount-proc")
        .arg(program)
        .args(env::args_os().skip(1))
        .env(INSIDE, name)
        .env(RUN_DIR, dir)
        .spawn()
        .context("cannot start setpriv and unshare (Debian package util-linux)")
}

fn wait(child: &mut Child, dir: &Path, signals: &SigSet) -> Result<std::process::ExitStatus> {
    note_init(child, dir)?;
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for unshare")? {
            return Ok(status);
        }
        if signals.wait().context("cannot wait for a signal")? != Signal::SIGCHLD {
            child.kill().context("cannot end unshare")?;
            return child.wait().context("cannot wait for unshare");
        }
    }
}

/// Writes the init's process id, as seen from outside, to a file: only here can it be known.
fn note_init(child: &mut Child, dir: &Path) -> Result<()> {
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        let pids = fs::read_to_string(&children).unwrap_or_default();
        if let Some(pid) = pids.split_whitespace().next() {
            return fs::write(dir.join(INIT_PID), pid)
                .or_else(ended_meanwhile)
                .context("cannot note the init's id");
        }
        if child.try_wait().context("cannot wait for unshare")?.is_some() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(5));
    }
    bail!("unshare has made no process within thirty seconds")
}

fn ended_meanwhile(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
