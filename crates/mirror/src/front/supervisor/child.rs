//! One nginx process and its workers.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStderr, Command};
use tracing::{debug, error, info, warn};

/// Where a system's nginx usually is, for a user whose `PATH` leaves these out.
const PLACES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// A running nginx. It leads a process group of its own, so that a key press in a terminal does not reach it, and so
/// that its workers can be ended when their master was killed: they would keep the port.
pub(super) struct Child {
    master: tokio::process::Child,
    group: Option<Pid>,
}

impl Child {
    pub(super) fn start(program: &Path, directory: &Path) -> io::Result<Self> {
        let mut master =
            command(program, directory).process_group(0).stderr(Stdio::piped()).kill_on_drop(true).spawn()?;
        let group = master.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        if let Some(stderr) = master.stderr.take() {
            tokio::spawn(forward(stderr));
        }
        Ok(Self { master, group })
    }

    /// Waits for the end of the master and then ends workers that it left behind.
    pub(super) async fn ended(&mut self) -> String {
        let status = self.master.wait().await;
        self.kill_group();
        status.as_ref().map_or_else(ToString::to_string, ExitStatus::to_string)
    }

    pub(super) fn reload(&self) {
        self.signal(Signal::SIGHUP);
    }

    /// Lets connections end, at most for `grace`.
    pub(super) async fn stop(&mut self, grace: Duration) {
        self.signal(Signal::SIGQUIT);
        if tokio::time::timeout(grace, self.master.wait()).await.is_err() {
            info!("nginx still has connections; ending them");
            self.signal(Signal::SIGTERM);
            // A master that ignores SIGTERM for this long hangs.
            let _ = tokio::time::timeout(Duration::from_secs(3), self.master.wait()).await;
        }
        self.kill_group();
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group
            && let Err(error) = kill(group, signal)
        {
            debug!(%error, %signal, "nginx is gone already");
        }
    }

    fn kill_group(&self) {
        // ESRCH, an empty group, is the usual answer.
        let _ = self.group.map(|group| killpg(group, Signal::SIGKILL));
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill_group();
    }
}

/// nginx on the files of `directory`.
pub(super) fn command(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("-p").arg(directory).arg("-c").arg(directory.join("nginx.conf")).args(["-e", "stderr"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Resolves a bare name.
pub(super) fn find(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(PLACES.iter().map(PathBuf::from))
        .map(|place| place.join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| program.into())
}

/// nginx's own words become lines of our log, at the level that nginx gave them.
async fn forward(stderr: ChildStderr) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match level(&line) {
            "emerg" | "alert" | "crit" | "error" => error!(target: "nginx", "{line}"),
            "warn" => warn!(target: "nginx", "{line}"),
            _ => info!(target: "nginx", "{line}"),
        }
    }
}

fn level(line: &str) -> &str {
    line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(level, _)| level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_read_from_the_line() {
        assert_eq!(level("2026/11/23 13:29:03 [warn] 25873#25873: could not build [x]"), "warn");
        assert_eq!(level("nginx: something"), "");
    }

    #[test]
    fn a_path_is_taken_as_it_is_and_a_name_is_looked_up() {
        assert_eq!(find(Path::new("/opt/nginx")), Path::new("/opt/nginx"));
        assert_eq!(find(Path::new("./nginx")), Path::new("./nginx"));
        assert!(find(Path::new("sh")).is_absolute());
        assert_eq!(find(Path::new("no-such-program")), Path::new("no-such-program"));
    }
}
