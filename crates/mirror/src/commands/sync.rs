//! `sync`: one pass.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use granary_fetch::Fetcher;
use granary_nix::StorePath;
use granary_placement::CompiledMap;
use granary_placement::report::{PolicyReport, Refusal};
use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::agent::{self, AgentError, job_of};
use crate::client;
use crate::config::{Config, Wanted};
use crate::map::Follower;
use crate::sync::{Observer, PassOutcome, Syncer};
use crate::tree::Tree;

pub(super) async fn sync(config: Config, stop: CancellationToken) -> Result<ExitCode, CommandError> {
    let tree = Tree::open(&config.directory, &config.cache_info).map_err(AgentError::from)?;
    let map = map(&config).await?;
    let Some((_, job)) = job_of(&config, map.as_deref()) else {
        return Err(CommandError::NoMap("nothing found".into()));
    };
    let fetcher = Fetcher::new(config.limits.clone()).map_err(AgentError::from)?;
    let syncer = Syncer::new(Arc::new(tree), fetcher);
    let progress = Progress { bar: io::stderr().is_terminal(), state: Mutex::default() };
    tokio::select! {
        () = stop.cancelled() => {
            eprintln!("stopped; what is published stays, and the next sync goes on from there");
            Ok(ExitCode::FAILURE)
        }
        outcome = syncer.pass(&job, &progress) => Ok(tell(&outcome)),
    }
}

/// The map, looked for once.
async fn map(config: &Config) -> Result<Option<Arc<CompiledMap>>, CommandError> {
    let Wanted::Map(source) = &config.wanted else { return Ok(None) };
    let client = client::build(&config.limits).map_err(AgentError::from)?;
    let mut follower = Follower::open(source.clone(), agent::map_copy(config), client);
    follower.look().await;
    let map = follower.current().borrow().clone();
    match map {
        Some(map) => Ok(Some(map)),
        None => Err(CommandError::NoMap(format!("nothing found there {}", follower.troubles()))),
    }
}

/// Prints what is not here, and a summary. The exit code says whether anything is missing.
fn tell(outcome: &PassOutcome) -> ExitCode {
    for Refusal { store_path, reason, message, source } in &outcome.refused {
        eprintln!("refused {store_path}: {reason}: {message} (from {source})");
    }
    for policy in &outcome.policies {
        if let Some(error) = &policy.catalog_error {
            eprintln!("{}: the closure cannot be resolved: {error}", policy.name);
        }
        let PolicyReport { name, assigned, verified, verified_bytes, .. } = policy;
        eprintln!("{name}: {verified} of {assigned} artifacts here and verified, {}", mib(*verified_bytes));
    }
    eprintln!("published {} artifacts, {}", outcome.published, mib(outcome.published_bytes));
    let complete = outcome.refused.is_empty()
        && outcome
            .policies
            .iter()
            .all(|policy| policy.catalog_error.is_none() && policy.verified == policy.assigned);
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// On a terminal one line that counts, else a line for each artifact.
struct Progress {
    bar: bool,
    state: Mutex<(u64, u64)>,
}

impl Observer for Progress {
    fn progress(&self, policies: &[PolicyReport]) {
        let verified: u64 = policies.iter().map(|policy| policy.verified).sum();
        let assigned: u64 = policies.iter().map(|policy| policy.assigned).sum();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (verified, assigned);
        if self.bar {
            eprint!("\r\x1b[K{verified} of {assigned} artifacts");
            // Nobody is told that the terminal is gone.
            let _ = io::stderr().flush();
        }
    }

    fn published(&self, store_path: &StorePath, bytes: u64) {
        if !self.bar {
            eprintln!("published {store_path} ({})", mib(bytes));
        }
    }

    fn refused(&self, refusal: &Refusal, _again: bool) {
        let Refusal { store_path, reason, .. } = refusal;
        let start = if self.bar { "\r\x1b[K" } else { "" };
        eprintln!("{start}refused {store_path}: {reason}");
    }
}

/// Bytes for people.
#[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
