//! Commands: output in a log file, a sign of life in long ones, the end of the log when one fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::paths;
use crate::tell::{Tell, span};

/// How often a command that is still running says so.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Lines of the log that a failure shows.
const TAIL: usize = 40;

/// How a command ended, and where its output is.
pub struct Ended {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Everything it printed.
    pub log: PathBuf,
}

/// Runs a command to its end, whatever that is. `name` names it on the screen and in the log folder.
pub fn run(tell: &Tell, logs: &Path, name: &str, command: &mut Command) -> Result<Ended> {
    let log = logs.join(format!("{}.log", name.replace([' ', '/'], "-")));
    // Appending keeps the output of another run, which may be at the same step, readable beside this one.
    fs::File::create(&log).with_context(|| format!("writing {}", log.display()))?;
    let output = fs::OpenOptions::new().append(true).open(&log)?;
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    let mut child = command.env("PATH", paths::search()).spawn().with_context(|| missing(command))?;
    let began = Instant::now();
    let (sender, ended) = mpsc::channel();
    std::thread::spawn(move || sender.send(child.wait()));
    loop {
        match ended.recv_timeout(HEARTBEAT) {
            Ok(status) => return Ok(Ended { status: status?, log }),
            Err(RecvTimeoutError::Timeout) => {
                let last = tail(&log, 1).unwrap_or_default();
                let last: String = last.trim().chars().take(90).collect();
                tell.say(&format!("  {name}: {} so far  {last}", span(began.elapsed())));
            }
            Err(RecvTimeoutError::Disconnected) => bail!("{name}: the thread that waited for it is gone"),
        }
    }
}

/// Runs a command that has to succeed; a failure shows the end of its output.
pub fn must(tell: &Tell, logs: &Path, name: &str, command: &mut Command) -> Result<()> {
    let ended = run(tell, logs, name, command)?;
    if ended.status.success() {
        return Ok(());
    }
    eprintln!("{}", tail(&ended.log, TAIL)?);
    bail!("{name} ended with {}; all of its output is in {}", ended.status, ended.log.display())
}

/// What a short command prints on its standard output. It has to succeed.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .env("PATH", paths::search())
        .output()
        .with_context(|| missing(command))?;
    if !output.status.success() {
        let program = command.get_program().to_string_lossy();
        bail!("{program} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).context("the output is not UTF-8")
}

/// The last lines of a file.
pub fn tail(path: &Path, lines: usize) -> Result<String> {
    let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
    let all: Vec<&str> = text.lines().collect();
    Ok(all[all.len().saturating_sub(lines)..].join("\n"))
}

fn missing(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_log_and_success_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let tell = Tell::new();
        must(&tell, dir.path(), "good one", &mut Command::new("true")).unwrap();
        let error = must(&tell, dir.path(), "bad one", Command::new("cat").arg("/no/such/file")).unwrap_err();
        let log = dir.path().join("bad-one.log");
        assert!(error.to_string().contains(log.to_str().unwrap()), "{error}");
        assert!(fs::read_to_string(log).unwrap().contains("/no/such/file"));
    }

    #[test]
    fn the_tail_is_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("log");
        fs::write(&file, "1\n2\n3\n").unwrap();
        assert_eq!(tail(&file, 2).unwrap(), "2\n3");
        assert_eq!(tail(&file, 9).unwrap(), "1\n2\n3");
    }

    #[test]
    fn output_is_what_was_printed() {
        assert_eq!(output(Command::new("echo").arg("a b")).unwrap(), "a b\n");
        assert!(output(&mut Command::new("false")).is_err());
    }
}
