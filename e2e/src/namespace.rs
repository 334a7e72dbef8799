//! Namespaces that clean up after themselves.
//!
//! [`enter`] runs three roles of one program, each of which starts the next:
//!
//! 1. the *supervisor*, outside: starts `unshare`, waits, and removes what namespaces do not (cgroups, the run's folder);
//! 2. the *init*, process 1 of the namespaces: makes the mounts, reaps orphans, and ends when its child ends;
//! 3. the program itself, for which `enter` returns.
//!
//! When the supervisor dies in any way the kernel kills `unshare`, then the init, and with it every process, mount and
//! interface inside. What a killed supervisor leaves (empty cgroups, a folder) is removed by the next one.

mod init;
mod leftovers;
mod supervisor;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

pub use leftovers::remove_leftovers;

/// Set inside the namespaces to the name of the run; the supervisor's process id is part of it.
pub const INSIDE: &str = "GRANARY_IN_NAMESPACE";
const RUN_DIR: &str = "GRANARY_RUN_DIR";

/// One run inside its namespaces.
#[derive(Debug, Clone)]
pub struct Run {
    /// The name, which is the supervisor's process id outside; cgroups are named `granary-<name>-<node>`.
    pub name: String,
    /// The folder of the run. Removed at its end, apart from the logs.
    pub dir: PathBuf,
}

impl Run {
    /// The process id, outside the namespaces, of their init: what `nsenter --target` wants.
    pub fn init_pid(&self) -> Result<u32> {
        let file = self.dir.join(INIT_PID);
        let text =
            std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        text.trim().parse().with_context(|| format!("{} does not hold a process id", file.display()))
    }
}

/// What the calling process turned out to be.
#[derive(Debug)]
pub enum Role {
    /// It is inside the namespaces and goes on with its work.
    Inside(Run),
    /// It was the supervisor or the init; the work is over and this is its exit code.
    Finished(ExitCode),
}

const INIT_PID: &str = "init.pid";

/// Runs the calling program inside namespaces. Call it first in `main`, before any thread is started.
pub fn enter() -> Result<Role> {
    let Some(name) = env::var_os(INSIDE) else {
        return supervisor::run().map(Role::Finished);
    };
    if std::process::id() == 1 {
        return init::run().map(Role::Finished);
    }
    // Blocked by the two that came before, and inherited by all that is started from here.
    signals().thread_unblock().context("cannot unblock signals")?;
    let name = name.into_string().ok().with_context(|| format!("{INSIDE} is not UTF-8"))?;
    let dir = env::var_os(RUN_DIR).with_context(|| format!("{INSIDE} is set but {RUN_DIR} is not"))?;
    Ok(Role::Inside(Run { name, dir: dir.into() }))
}

/// What the supervisor and the init read instead of obeying.
fn signals() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
}

/// The exit code of a process: its own, or 128 and the signal's number, as shells have it.
fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
