//! `sync`: one pass over the policies, and one round over the mirror's own channels.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use granary_fetch::{Fetcher, WebClient};
use granary_nix::StorePath;
use granary_placement::CompiledMap;
use granary_placement::report::{PolicyReport, Refusal};
use tokio_util::sync::CancellationToken;

use super::progress::{Counts, Progress};
use super::{CommandError, brought};
use crate::agent::{self, AgentError, job};
use crate::channels::{Channels, Followed};
use crate::config::{Config, Wanted};
use crate::extras::{Keeper, complete_fresh};
use crate::map::Follower;
use crate::metrics::Metrics;
use crate::sync::{Observer, PassOutcome, Syncer};
use crate::tree::Tree;
use crate::wants::Wants;
use crate::words::size;

pub(super) async fn sync(
    config: Config,
    quiet: bool,
    stop: CancellationToken,
) -> Result<ExitCode, CommandError> {
    let tree = Tree::open(&config.directory, &config.cache_info).map_err(AgentError::from)?;
    tree.capacity().limit(config.capacity);
    let map = map(&config).await?;
    let fetcher = Fetcher::new(config.limits.clone()).map_err(AgentError::from)?;
    let tree = Arc::new(tree);
    let client = WebClient::by(&config.limits, config.proxy.as_ref()).map_err(AgentError::from)?;
    let followed = Followed::new(Arc::clone(&tree), client.clone());
    let task = || job::task(&config, map.as_deref(), &followed);
    let no_map = || CommandError::NoMap("nothing found".into());
    // Which channels there are, then what they list.
    task().ok_or_else(no_map)?;
    followed.look(Duration::ZERO).await;
    let job = task().ok_or_else(no_map)?.job;
    let metrics = Metrics::new().map_err(AgentError::from)?.extras().clone();
    let upstreams = config.upstreams.clone();
    let keeper = Arc::new(Keeper::new(Arc::clone(&tree), fetcher.clone(), config.extras, upstreams, metrics));
    let channels = channels(&config, &tree, fetcher.clone(), client);
    let syncer = Syncer::new(tree, fetcher);
    let syncer = if config.has_guests() { syncer.with_guests() } else { syncer };
    let watch = Watch(Progress::new(quiet));
    let pass = async {
        let outcome = syncer.pass(&job, &watch).await;
        let round = brought::bring(&channels, &watch.0).await;
        // What belongs to the new artifacts. Whatever comes of it, they are good.
        complete_fresh(&keeper).await;
        (outcome, round)
    };
    let (outcome, round) = tokio::select! {
        () = stop.cancelled() => {
            watch.0.end();
            eprintln!("stopped; what is published stays, and the next sync goes on from there");
            return Ok(ExitCode::FAILURE);
        }
        outcomes = pass => outcomes,
    };
    watch.0.end();
    let codes = [tell(&outcome, quiet), brought::tell(&channels, &followed, &round, &watch.0)];
    if !quiet {
        let (artifacts, bytes) =
            (outcome.published + round.published, outcome.published_bytes + round.published_bytes);
        eprintln!("published {artifacts} artifacts, {}", size(bytes));
    }
    Ok(if codes == [ExitCode::SUCCESS; 2] { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The channels of the file itself.
fn channels(config: &Config, tree: &Arc<Tree>, fetcher: Fetcher, client: WebClient) -> Channels {
    let (syncer, wants) = (Syncer::new(Arc::clone(tree), fetcher), Arc::<Wants>::default());
    let Config { channels, upstreams, .. } = config;
    Channels::open(channels, Arc::clone(tree), client, syncer, upstreams, wants)
}

/// The map, looked for once.
async fn map(config: &Config) -> Result<Option<Arc<CompiledMap>>, CommandError> {
    let Wanted::Map(source) = &config.wanted else { return Ok(None) };
    let client = WebClient::new(&config.limits).map_err(AgentError::from)?;
    let mut follower = Follower::open(source.clone(), agent::map_copy(config), client);
    follower.look().await;
    let map = follower.current().borrow().clone();
    match map {
        Some(map) => Ok(Some(map)),
        None => Err(CommandError::NoMap(format!("nothing found there {}", follower.troubles()))),
    }
}

/// Prints what is not here of the policies. The exit code says whether anything is missing.
fn tell(outcome: &PassOutcome, quiet: bool) -> ExitCode {
    for Refusal { store_path, reason, message, source } in &outcome.refused {
        eprintln!("refused {store_path}: {reason}: {message} (from {source})");
    }
    for policy in &outcome.policies {
        if let Some(error) = &policy.catalog_error {
            eprintln!("{}: the closure cannot be resolved: {error}", policy.name);
        }
        let PolicyReport { name, assigned, verified, verified_bytes, .. } = policy;
        if !quiet {
            eprintln!(
                "{name}: {verified} of {assigned} artifacts here and verified, {}",
                size(*verified_bytes)
            );
        }
    }
    let complete = outcome.refused.is_empty()
        && outcome
            .policies
            .iter()
            .all(|policy| policy.catalog_error.is_none() && policy.verified == policy.assigned);
    if complete { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The whole of what the policies want, and how much of it is here.
struct Watch(Progress);

impl Observer for Watch {
    fn progress(&self, policies: &[PolicyReport]) {
        let sum = |count: fn(&PolicyReport) -> u64| policies.iter().map(count).sum();
        self.0.set(Counts {
            done: sum(|policy| policy.verified),
            artifacts: sum(|policy| policy.assigned),
            bytes: sum(|policy| policy.verified_bytes),
            total: sum(|policy| {
                // What a part of a closure has is not known beforehand.
                let whole = policy.catalog.as_ref().filter(|catalog| catalog.artifacts == policy.assigned);
                whole.map_or(policy.verified_bytes, |catalog| catalog.bytes)
            }),
        });
    }

    fn published(&self, store_path: &StorePath, _bytes: u64) {
        self.0.current(store_path);
    }

    fn refused(&self, refusal: &Refusal, _again: bool) {
        // Told in full at the end; but that may be hours away.
        if !self.0.is_quiet() {
            self.0.line(&format!("refused {}: {}", refusal.store_path, refusal.reason));
        }
    }
}
