//! Long-lived child processes, each with a log file, and short commands with their output.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How to start one process, as often as it is needed.
#[derive(Debug, Clone)]
pub struct Spec {
    name: String,
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(String, OsString)>,
    log: PathBuf,
}

impl Spec {
    /// A process that writes what it says to `<logs>/<name>.log`.
    pub fn new(name: &str, logs: &Path, program: impl Into<OsString>) -> Self {
        let log = logs.join(format!("{name}.log"));
        Self { name: name.into(), program: program.into(), args: Vec::new(), envs: Vec::new(), log }
    }

    /// The same inside a network namespace. Not with `ip netns exec`, which hides the cgroups under a fresh `/sys`.
    pub fn in_netns(name: &str, logs: &Path, netns: &str, program: impl Into<OsString>) -> Self {
        Self::new(name, logs, "nsenter").arg(format!("--net=/run/netns/{netns}")).arg(program)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Starts the process.
    pub fn start(&self) -> Result<Daemon> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .with_context(|| format!("cannot open {}", self.log.display()))?;
        let errors = log.try_clone().context("cannot share a log file")?;
        let child = Command::new(&self.program)
            .args(&self.args)
            .envs(self.envs.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {} ({})", self.name, self.program.display()))?;
        Ok(Daemon { name: self.name.clone(), log: self.log.clone(), child })
    }
}

/// A running process; dropping it kills it.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Daemon {
    /// An error with the end of the log when the process has ended.
    pub fn check(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait().with_context(|| format!("cannot wait for {}", self.name))?
        else {
            return Ok(());
        };
        bail!(
            "{} ended with {status}; the end of {}:\n{}",
            self.name,
            self.log.display(),
            tail(&self.log, 15)
        )
    }

    /// Sends a signal. A process that has ended is no error: it is what [`Daemon::check`] tells.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        match kill(self.pid()?, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal} to {}", self.name)),
        }
    }

    /// Kills the process without notice and waits until it is gone.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("cannot kill {}", self.name))?;
        self.child.wait().with_context(|| format!("cannot wait for {}", self.name))?;
        Ok(())
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id()).context("a process id out of range")?))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The process may have ended by itself, and nobody can be told here; the namespaces end it in any case.
        let _ = self.kill();
    }
}

/// The last lines of a text file; empty when it cannot be read.
#[must_use]
pub fn tail(file: &Path, lines: usize) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all.get(all.len().saturating_sub(lines)..).unwrap_or_default().join("\n")
}

/// Runs a command to its end and returns what it said, also when it failed. Ended with an error after `limit`.
pub async fn output(mut command: tokio::process::Command, limit: Duration) -> Result<Output> {
    let shown = format!("{:?}", command.as_std());
    let child = command.stdin(Stdio::null()).kill_on_drop(true).output();
    match tokio::time::timeout(limit, child).await {
        Ok(output) => output.with_context(|| format!("cannot run {shown}")),
        Err(_) => bail!("no end after {} s: {shown}", limit.as_secs()),
    }
}

/// Runs a command that must succeed and returns its standard output; the error has both outputs.
pub async fn run(command: tokio::process::Command, limit: Duration) -> Result<String> {
    let shown = format!("{:?}", command.as_std());
    checked(&shown, output(command, limit).await?)
}

/// The standard output of a command that succeeded, or an error with all that it said.
pub fn checked(shown: &str, output: Output) -> Result<String> {
    if !output.status.success() {
        bail!(
            "{shown} ended with {}: {}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    String::from_utf8(output.stdout).with_context(|| format!("{shown} wrote something that is not UTF-8"))
}

/// A short command whose words are separated by single spaces.
pub async fn words(line: &str) -> Result<String> {
    let mut parts = line.split(' ');
    let mut command = tokio::process::Command::new(parts.next().unwrap_or_default());
    command.args(parts);
    run(command, Duration::from_mins(1)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ended_is_told_with_the_end_of_its_log() {
        let dir = tempfile::tempdir().unwrap();
        let spec = Spec::new("short", dir.path(), "sh").args(["-c", "echo first; echo last words; exit 3"]);
        let mut daemon = spec.start().unwrap();
        daemon.child.wait().unwrap();
        let message = daemon.check().unwrap_err().to_string();
        assert!(message.contains("last words") && message.contains('3'), "{message}");
    }

    #[tokio::test]
    async fn a_command_that_takes_too_long_is_ended() {
        let mut command = tokio::process::Command::new("sleep");
        command.arg("60");
        assert!(output(command, Duration::from_millis(20)).await.is_err());
    }

    #[tokio::test]
    async fn a_failure_carries_what_the_command_said() {
        let error = words("ls /does-not-exist-at-all").await.unwrap_err().to_string();
        assert!(error.contains("does-not-exist-at-all"), "{error}");
    }
}
