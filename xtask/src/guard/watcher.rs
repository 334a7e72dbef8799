//! The process that outlives a front that was killed.

use std::io::{Read, Write, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use super::group::Group;

/// The hidden command that a watcher runs.
pub const WATCH: &str = "watch";

/// Ends a process group when the process that holds this ends without a word.
///
/// It is a process of its own, so that no way to end the holder passes it by: the kernel closes the pipe.
pub struct Watcher {
    process: Child,
    pipe: ChildStdin,
}

impl Watcher {
    /// Begins to watch over the group.
    pub fn over(group: Group) -> Result<Self> {
        let program = std::env::current_exe().context("cannot tell the path of this program")?;
        let mut process = Command::new(program)
            .args([WATCH, &group.id().to_string()])
            .stdin(Stdio::piped())
            // A terminal sends what ends the holder to the holder's group.
            .process_group(0)
            .spawn()
            .context("cannot start the process that watches over the others")?;
        let pipe = process.stdin.take().context("the watching process has no input")?;
        Ok(Self { process, pipe })
    }

    /// The group may live on, or has ended.
    pub fn dismiss(self) {
        let Self { mut process, mut pipe } = self;
        // Should it have been killed, there is nothing to tell it.
        let _ = pipe.write_all(b".");
        drop(pipe);
        let _ = process.wait();
    }
}

/// `cargo xtask watch GROUP`: waits for the holder's end, which is that of the input.
pub fn watch(group: u32) -> Result<ExitCode> {
    let group = Group::named(group)?;
    let mut said = Vec::new();
    // An input that cannot be read has no holder either.
    let _ = stdin().lock().take(1).read_to_end(&mut said);
    if said.is_empty() {
        group.end();
    }
    Ok(ExitCode::SUCCESS)
}
