//! Keeps nginx running in the foreground on the rendered files, and makes it read them again when they change.

mod child;
mod stale;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use child::Child;

/// How often the files are looked at.
const POLL: Duration = Duration::from_millis(500);
/// How long connections may end in peace after a stop. Below the 30 s that Kubernetes grants.
const GRACE: Duration = Duration::from_secs(20);
/// Pauses between starts of an nginx that keeps ending, and the uptime that resets them.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// nginx cannot be run at all. Trouble that may pass (a refused configuration, an nginx that ends) is logged and retried.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// No such program.
    #[error("cannot start {}: {source}; install nginx or name it with --nginx", program.display())]
    Start {
        /// What was tried.
        program: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Runs nginx on `<directory>/nginx.conf`.
#[derive(Debug)]
pub struct Supervisor {
    program: PathBuf,
    directory: PathBuf,
    /// Where an earlier one may have run that still has the port.
    earlier: Vec<PathBuf>,
}

/// What a change is told by: inode, size and time of both files. They are replaced by rename and only when they differ.
type Fingerprint = [Option<(u64, u64, i64, i64)>; 2];

enum Ended {
    Stopped,
    Again,
}

impl Supervisor {
    /// `program` is a path, or a name to be found in `PATH` and the usual places of system programs.
    #[must_use]
    pub fn new(program: &Path, directory: &Path) -> Self {
        Self { program: child::find(program), directory: directory.into(), earlier: vec![directory.into()] }
    }

    /// Ends nginx of these directories too, before its own starts.
    #[must_use]
    pub fn after(self, earlier: Vec<PathBuf>) -> Self {
        Self { earlier, ..self }
    }

    /// Waits for the files, runs nginx, and returns after `stop` once nginx has ended.
    pub async fn run(self, stop: CancellationToken) -> Result<(), SupervisorError> {
        let mut pause = BACKOFF.0;
        let mut refused: Option<Fingerprint> = None;
        loop {
            let files = self.fingerprint();
            if files.iter().any(Option::is_none) || refused == Some(files) {
                if wait(POLL, &stop).await {
                    return Ok(());
                }
                continue;
            }
            if let Err(reason) = self.check().await? {
                error!(reason, "nginx refuses its configuration; waiting for another one");
                refused = Some(files);
                continue;
            }
            for earlier in &self.earlier {
                stale::stop(earlier).await;
            }
            let started = tokio::time::Instant::now();
            match self.run_once(files, &stop).await? {
                Ended::Stopped => return Ok(()),
                Ended::Again if started.elapsed() > BACKOFF.1 => pause = BACKOFF.0,
                Ended::Again => {}
            }
            if wait(pause, &stop).await {
                return Ok(());
            }
            pause = (pause * 2).min(BACKOFF.1);
        }
    }

    async fn run_once(
        &self,
        mut files: Fingerprint,
        stop: &CancellationToken,
    ) -> Result<Ended, SupervisorError> {
        let mut nginx =
            Child::start(&self.program, &self.directory).map_err(|source| self.cannot_start(source))?;
        info!(directory = %self.directory.display(), "nginx started");
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => {
                    nginx.stop(GRACE).await;
                    return Ok(Ended::Stopped);
                }
                status = nginx.ended() => {
                    warn!(%status, "nginx ended; starting it again");
                    return Ok(Ended::Again);
                }
                _ = ticks.tick() => {
                    super::record::bound_record(&self.directory);
                    let now = self.fingerprint();
                    if now == files {
                        continue;
                    }
                    files = now;
                    match self.check().await? {
                        Ok(()) => {
                            nginx.reload();
                            info!("nginx reads its configuration again");
                        }
                        Err(reason) => error!(reason, "nginx refuses its new configuration; the old one stays in force"),
                    }
                }
            }
        }
    }

    /// `nginx -t`. The inner error is what nginx said.
    async fn check(&self) -> Result<Result<(), String>, SupervisorError> {
        let mut command = child::command(&self.program, &self.directory);
        let output = command.arg("-t").output().await.map_err(|source| self.cannot_start(source))?;
        Ok(if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
        })
    }

    fn cannot_start(&self, source: std::io::Error) -> SupervisorError {
        SupervisorError::Start { program: self.program.clone(), source }
    }

    fn fingerprint(&self) -> Fingerprint {
        use std::os::unix::fs::MetadataExt as _;
        ["nginx.conf", "mirrors.map"].map(|name| {
            let meta = std::fs::metadata(self.directory.join(name)).ok()?;
            Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
        })
    }
}

/// Waits, and tells whether it was ended by `stop`.
async fn wait(time: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = sleep(time) => false,
    }
}
