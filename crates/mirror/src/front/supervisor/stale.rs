//! An nginx of ours that outlived a killed supervisor still holds the port.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tracing::warn;

/// Ends the nginx that the pid file names, if it is one on this very directory.
pub(super) async fn stop(directory: &Path) {
    let Some(pid) = recorded(directory) else { return };
    if !is_ours(pid, directory) {
        return;
    }
    warn!(pid = pid.as_raw(), "ending an nginx left over from an earlier run");
    // It may end by itself between the look and the signal.
    let _ = kill(pid, Signal::SIGTERM);
    for _ in 0..50 {
        if !is_ours(pid, directory) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let _ = killpg(pid, Signal::SIGKILL);
}

fn recorded(directory: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(directory.join("nginx.pid")).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 1).map(Pid::from_raw)
}

/// The pid may belong to any process by now; nginx's title names its configuration.
fn is_ours(pid: Pid, directory: &Path) -> bool {
    let Ok(title) = std::fs::read(format!("/proc/{pid}/cmdline")) else { return false };
    let title = String::from_utf8_lossy(&title);
    title.starts_with("nginx: master") && title.contains(&*directory.join("nginx.conf").to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_with_that_pid_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(recorded(temp.path()), None);
        std::fs::write(temp.path().join("nginx.pid"), format!("{}\n", std::process::id())).unwrap();
        let pid = recorded(temp.path()).unwrap();
        assert!(!is_ours(pid, temp.path()));
        std::fs::write(temp.path().join("nginx.pid"), "0\n").unwrap();
        assert_eq!(recorded(temp.path()), None, "0 would signal our own group");
    }
}
