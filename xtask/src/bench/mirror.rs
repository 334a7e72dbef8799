//! A running `granary-mirror run`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

/// Ended with this value.
pub struct Mirror {
    child: Child,
}

impl Mirror {
    /// Starts it with this configuration; its words go into `state`.
    pub fn start(program: &Path, config: &str, state: &Path) -> Result<Self> {
        fs::create_dir_all(state).with_context(|| format!("cannot create {}", state.display()))?;
        let file = state.join("mirror.yaml");
        fs::write(&file, config).with_context(|| format!("cannot write {}", file.display()))?;
        let log = File::create(state.join("mirror.log")).context("cannot write the mirror's log")?;
        let child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn()
            .context("cannot start granary-mirror")?;
        Ok(Self { child })
    }

    /// The process of agent and supervisor, the parent of nginx.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// Seconds between two looks at something that is waited for.
pub const LOOK: std::time::Duration = std::time::Duration::from_millis(20);

/// As which everything is asked: only Nix is given the `Mirrors` line.
pub const NIX: &str = "curl/8 Nix/2.34";

/// The answer to a GET, if there is one: the status, and the body as text.
pub fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let output = Command::new("curl")
        .args(["--silent", "--user-agent", NIX, "--max-time", "5", "--write-out", "\n%{http_code}"])
        .arg(format!("http://127.0.0.1:{port}{path}"))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, status) = text.rsplit_once('\n')?;
    Some((status.parse().ok()?, body.to_owned()))
}
