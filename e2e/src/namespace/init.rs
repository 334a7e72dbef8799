//! Process 1 of the namespaces.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, ExitStatus};
use std::{env, fs};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::exit_code;

/// Makes the mounts, runs the program again as a child, and reaps every process until that child ends.
///
/// A process 1 is needed for itself: containerd's shims become its children, and the program's own runtime waits only
/// for processes that it started.
pub fn run() -> Result<ExitCode> {
    mounts()?;
    let signals = super::signals();
    signals.thread_block().context("cannot block signals")?;
    let program = env::current_exe().context("cannot tell the path of this program")?;
    let child =
        Command::new(program).args(env::args_os().skip(1)).spawn().context("cannot start the program")?;
    let child = Pid::from_raw(i32::try_from(child.id()).context("a process id out of range")?);
    loop {
        if let Some(status) = reap(child)? {
            return Ok(exit_code(status));
        }
        let signal = signals.wait().context("cannot wait for a signal")?;
        if signal != Signal::SIGCHLD {
            // Ending here ends every other process of the namespaces.
            return Ok(exit_code(ExitStatus::from_raw(signal as i32)));
        }
    }
}

/// Reaps all that have ended; returns the status of `child` when it is one of them.
fn reap(child: Pid) -> Result<Option<ExitStatus>> {
    loop {
        match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == child => {
                return Ok(Some(ExitStatus::from_raw(code << 8)));
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                return Ok(Some(ExitStatus::from_raw(signal as i32)));
            }
            Ok(WaitStatus::StillAlive) => return Ok(None),
            Ok(_) => {}
            Err(Errno::ECHILD) => bail!("the program has vanished"),
            Err(error) => return Err(error).context("cannot wait for processes"),
        }
    }
}

/// Private folders where container tools write without being asked: sockets and locks, CNI's results, kubelet's links, and
/// its socket for device plugins, which no option moves and which two clusters at once would take from each other.
fn mounts() -> Result<()> {
    for target in ["/run", "/var/lib/cni", "/var/lib/kubelet", "/var/log"] {
        fs::create_dir_all(target).with_context(|| format!("cannot create {target}"))?;
        let status =
            Command::new("mount").args(["-t", "tmpfs", "tmpfs", target]).status().context("mount")?;
        if !status.success() {
            bail!("cannot mount a tmpfs on {target}");
        }
    }
    for folder in ["/run/netns", "/run/lock"] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {folder}"))?;
    }
    Ok(())
}
