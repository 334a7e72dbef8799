//! The agent: follows the map, syncs again and again, renders nginx's files, and answers on its own port.

mod activity;
mod certificate;
mod channels;
mod checked;
mod connections;
mod disk;
pub mod extras;
mod front;
mod heart;
pub mod job;
pub mod misses;
pub mod page;
mod probe;
mod push;
mod scrub;
mod server;
mod status;
mod status_page;
mod suspects;
mod through;
mod upkeep;
mod work;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_fetch::{Fetcher, FetcherError, WebClient};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::channels::{Channels, Followed};
use crate::config::{Config, Wanted};
use crate::extras::{self as beside, Keeper, Pace};
use crate::listen;
use crate::map::{Current, Doubt, Follower};
use crate::metrics::Metrics;
use crate::push::{Push, PushError};
use crate::refusals::Refusals;
use crate::retention::Retention;
use crate::sync::Syncer;
use crate::through::{Through, Told};
use crate::tree::{Opening, Tree, TreeError};
use crate::wants::Wants;
use heart::Heart;
use misses::{Misses, Sources};
use probe::Probe;
use server::Shared;
use status::Status;
use upkeep::Upkeep;
use work::Wishes;

/// How long answers that have begun may take to end after a stop. Below the 30 s that Kubernetes grants.
const GRACE: Duration = Duration::from_secs(20);

/// Passes between two looks at the channels.
const LOOK_EVERY: u32 = 20;

/// The agent cannot start, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The directory is not usable.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The port is not to be had.
    #[error("cannot listen on {address} (listen.agent): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The HTTP client cannot be made.
    #[error("cannot set up HTTP: {0}")]
    Client(#[from] reqwest::Error),
    /// The client of the passes cannot be made.
    #[error(transparent)]
    Fetcher(#[from] FetcherError),
    /// The directory could not be read through.
    #[error("opening the directory did not end well: {0}")]
    Opening(#[from] tokio::task::JoinError),
    /// Push cannot be offered.
    #[error(transparent)]
    Push(#[from] PushError),
    /// A metric is defined twice or wrongly.
    #[error("cannot set up metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Runs the agent until `stop`. Trouble with upstreams, the map or single artifacts is reported and does not end it.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), AgentError> {
    let config = Arc::new(config);
    let begin = Arc::clone(&config);
    let opening =
        tokio::task::spawn_blocking(move || Opening::begin(&begin.directory, &begin.cache_info)).await??;
    let refused = |source| AgentError::Listen { address: config.agent, source };
    let listener = listen::bind(config.agent).map_err(refused)?;
    let metrics = Arc::new(Metrics::new()?);
    metrics.fetch.sources(&config.upstreams);
    let client = WebClient::new(&config.limits)?;
    let status = Arc::new(Status::new(config.name.clone()));
    let heart = Arc::new(Heart::new(Instant::now(), &config.limits));
    let tasks = TaskTracker::new();
    let (map, doubt) = follow(&config, client, &tasks, &stop);
    // nginx serves what is there while it is read what that is.
    tasks.spawn(front::keep_rendered(
        Arc::clone(&config),
        map.clone(),
        Arc::clone(&status),
        Arc::clone(&metrics),
        stop.clone(),
    ));
    let waiting = server::while_opening(&listener).map_err(refused)?;
    let tree = Arc::new(tokio::task::spawn_blocking(move || opening.finish()).await??);
    tree.capacity().limit(config.capacity);

    let refusals = Arc::new(Refusals::new(Arc::clone(&tree), Arc::clone(&metrics)));
    let watcher = Arc::new(work::Watcher {
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
        heart: Arc::clone(&heart),
        refusals: Arc::clone(&refusals),
    });
    let fetcher = Fetcher::watched(config.limits.clone(), Arc::<work::Watcher>::clone(&watcher))?;
    let syncer = Syncer::new(Arc::clone(&tree), fetcher.clone()).beside(Arc::clone(&refusals));
    let wants = Arc::<Wants>::default();
    let syncer = if config.has_guests() { syncer.with_guests().telling(Arc::clone(&wants)) } else { syncer };
    let sources = Sources::new(config.name.clone(), map.clone(), config.upstreams.clone(), fetcher.clone());
    let misses = Misses::new(sources, Arc::clone(&metrics));
    let told = Told { metrics: Arc::clone(&metrics.through), refusals: Arc::clone(&refusals) };
    let through = pull_through(&config, &tree, &fetcher, &wants, told, (tasks.clone(), stop.clone()))?;
    let keeper = keeper(&config, &tree, fetcher.clone(), &metrics);
    let extras = extras::Extras::new(Arc::clone(&keeper), config.name.clone(), map.clone());
    let channels = open_channels(&config, &tree, fetcher, &wants).await?;
    let followed = Followed::new(Arc::clone(&tree), WebClient::by(&config.limits, config.proxy.as_ref())?);
    let followed = Arc::new(followed);
    let every = look_every(&config);
    let wakes = scrub::Wakes::default();
    tasks.spawn(channels::run(Arc::clone(&channels), &config, Arc::clone(&watcher), &wakes, stop.clone()));
    let push = take_pushes(&config, &keeper, &refusals, &tasks, &stop)?;
    let retention = Retention::open(Arc::clone(&tree));
    let clients = (by_clients(&config), (!config.channels.is_empty()).then(|| Arc::clone(&wants)));
    let upkeep =
        Upkeep::new(Arc::clone(&tree), retention, doubt, clients, Arc::clone(&status), Arc::clone(&metrics));
    let probe = Probe::new(Arc::clone(&tree), config.front(), &config.limits)?;
    let shared = Shared {
        config: Arc::clone(&config),
        map: map.clone(),
        heart,
        probe,
        status: Arc::clone(&status),
        tree: Arc::clone(&tree),
        misses,
        channels,
        followed: Arc::clone(&followed),
        through,
        extras,
        placed: matches!(config.wanted, Wanted::Map(_)),
        metrics: Arc::clone(&metrics),
        push,
        refusals,
    };
    info!(name = %config.name, directory = %config.directory.display(), agent = %config.agent, "agent started");

    watch_disk(&config, &tree, (&status, &metrics), &wakes, &tasks, &stop);
    let following = (Arc::clone(&followed), Arc::clone(&wakes.passes), stop.clone());
    tasks.spawn(async move {
        let (followed, wake, stop) = following;
        followed.run(every, &wake, &stop).await;
    });
    tasks.spawn(beside::keep(keeper, Pace::default(), random(), stop.clone()));
    drop(waiting);
    tasks.spawn(server::serve(listener, Arc::new(shared), stop.clone()));
    work::work(&config, &syncer, Wishes { map, followed }, &watcher, &upkeep, &wakes.passes, &stop).await;
    tasks.close();
    if tokio::time::timeout(GRACE, tasks.wait()).await.is_err() {
        info!("NAR files are still being passed on; ending them");
    }
    info!("agent stopped");
    Ok(())
}

/// How often the lists of channels are asked for.
fn look_every(config: &Config) -> Duration {
    config.sync_every.saturating_mul(LOOK_EVERY)
}

/// Scrubs, and looks whether the disk takes anything in. Wakes who has to look when something is missing, or can be had again.
fn watch_disk(
    config: &Arc<Config>,
    tree: &Arc<Tree>,
    (status, metrics): (&Arc<Status>, &Arc<Metrics>),
    wakes: &scrub::Wakes,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let told = scrub::Told { status: Arc::clone(status), metrics: Arc::clone(metrics), wakes: wakes.clone() };
    let (status, metrics) = (Arc::clone(status), Arc::clone(metrics));
    tasks.spawn(disk::watch(Arc::clone(tree), status, metrics, wakes.clone(), stop.clone()));
    let (config, tree, stop) = (Arc::clone(config), Arc::clone(tree), stop.clone());
    tasks.spawn(async move { scrub::scrub(&config, tree, told, stop).await });
}

/// What answers for more than is wanted here, if the configuration has it.
fn pull_through(
    config: &Config,
    tree: &Arc<Tree>,
    fetcher: &Fetcher,
    wants: &Arc<Wants>,
    told: Told,
    until: (TaskTracker, CancellationToken),
) -> Result<Option<Through>, FetcherError> {
    let Some(settings) = config.pull_through else { return Ok(None) };
    let (tree, wants, tasks) = (Arc::clone(tree), Arc::clone(wants), until.0.clone());
    let through = Through::new(tree, &config.upstreams, fetcher, settings, wants, told, until)?;
    tasks.spawn(through.clone().upkeep(config.front_directory.clone()));
    Ok(Some(through))
}

/// What takes in pushes, if the configuration has it.
fn take_pushes(
    config: &Config,
    keeper: &Arc<Keeper>,
    refusals: &Arc<Refusals>,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Option<Arc<Push>>, PushError> {
    let Some(settings) = config.push.clone() else { return Ok(None) };
    let (keeper, refusals, limits) = (Arc::clone(keeper), Arc::clone(refusals), &config.limits);
    let push = Arc::new(Push::new(settings, keeper, refusals, limits.decoders, limits.max_nar_size)?);
    let (tidy, stop) = (Arc::clone(&push), stop.clone());
    tasks.spawn(async move { tidy.tidy(stop).await });
    Ok(Some(push))
}

/// Why artifacts may be here that clients brought, and that no policy knows of.
fn by_clients(config: &Config) -> Option<&'static str> {
    let reason = "pull-through keeps what clients ask for, and retention is not told what that is";
    config.pull_through.is_some().then_some(reason)
}

/// The channels, with what is on disk of them.
async fn open_channels(
    config: &Arc<Config>,
    tree: &Arc<Tree>,
    fetcher: Fetcher,
    wants: &Arc<Wants>,
) -> Result<Arc<Channels>, AgentError> {
    let (config, tree, wants) = (Arc::clone(config), Arc::clone(tree), Arc::clone(wants));
    let client = WebClient::by(&config.limits, config.proxy.as_ref())?;
    let syncer = Syncer::new(Arc::clone(&tree), fetcher);
    let open = move || Channels::open(&config.channels, tree, client, syncer, &config.upstreams, wants);
    Ok(Arc::new(tokio::task::spawn_blocking(open).await?))
}

/// What keeps the files beside artifacts.
fn keeper(config: &Config, tree: &Arc<Tree>, fetcher: Fetcher, metrics: &Metrics) -> Arc<Keeper> {
    let (upstreams, metrics) = (config.upstreams.clone(), metrics.extras().clone());
    Arc::new(Keeper::new(Arc::clone(tree), fetcher, config.extras, upstreams, metrics))
}

/// Any number.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness every round begins at the same place, which is no harm.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// Follows the map, if the configuration has one. The receiver never changes otherwise.
fn follow(
    config: &Config,
    client: WebClient,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> (Current, Option<Doubt>) {
    match &config.wanted {
        Wanted::Roots(_) => (watch::channel(None).1, None),
        Wanted::Map(source) => {
            let follower = Follower::open(source.clone(), map_copy(config), client);
            let (current, doubt) = (follower.current(), follower.doubt());
            tasks.spawn(follower.run(stop.clone()));
            (current, Some(doubt))
        }
    }
}

/// Where the map in force is kept.
#[must_use]
pub fn map_copy(config: &Config) -> std::path::PathBuf {
    config.directory.join(".granary/map.json")
}
