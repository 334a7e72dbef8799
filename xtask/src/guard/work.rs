//! The process that does the work.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};

/// Set in what a front runs to the front's process id. The work's own children have it too, and another parent.
pub const GUARDED: &str = "GRANARY_GUARDED";

/// What a front reads, and the work obeys.
pub fn signals() -> SigSet {
    [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP].into_iter().collect()
}

/// Whether this process is the work, and not the front.
pub fn is_guarded() -> bool {
    env::var(GUARDED).is_ok_and(|front| front == parent_id().to_string())
}

/// Goes back to obeying the signals that the front blocks. Call it before any thread is started.
pub fn obey_signals() -> Result<()> {
    signals().thread_unblock().context("cannot unblock signals")
}

/// Goes on as another program.
pub fn become_program(words: &[OsString]) -> Result<ExitCode> {
    obey_signals()?;
    let (program, arguments) = words.split_first().context("a command is missing")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}
