//! The process that the user started.

use std::env;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, id};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

use super::group::Group;
use super::{Watcher, work};

/// Runs this program again as the work, in a process group of its own, and leaves nothing of that group.
///
/// A signal that asks for an end (`SIGINT`, `SIGTERM`, `SIGHUP`) ends the group first. The exit code is that of the work,
/// or 128 and the signal's number, as shells have it.
pub fn again() -> Result<ExitCode> {
    // Read and not obeyed from here on. What is started inherits that, and goes back to obeying them.
    let signals = work::signals();
    signals.thread_block().context("cannot block signals")?;
    let program = env::current_exe().context("cannot tell the path of this program")?;
    let mut command = Command::new(program);
    command.args(env::args_os().skip(1)).env(work::GUARDED, id().to_string()).process_group(0);
    let mut child = command.spawn().context("cannot start this program again")?;
    let group = Group::of(&child)?;
    let watcher = Watcher::over(group).inspect_err(|_| group.end())?;
    let end = wait(&mut child, &signals);
    group.end();
    let code = match end? {
        End::Work(status) => of(status),
        End::Asked(signal) => of(ExitStatus::from_raw(signal as i32)),
    };
    watcher.dismiss();
    Ok(code)
}

enum End {
    Work(ExitStatus),
    Asked(Signal),
}

fn wait(child: &mut Child, signals: &SigSet) -> Result<End> {
    loop {
        if let Some(status) = child.try_wait().context("cannot wait for the work")? {
            return Ok(End::Work(status));
        }
        let signal = signals.wait().context("cannot wait for a signal")?;
        if signal != Signal::SIGCHLD {
            return Ok(End::Asked(signal));
        }
    }
}

fn of(status: ExitStatus) -> ExitCode {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
