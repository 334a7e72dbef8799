//! How the parts are wired: what every replica does, and what only the leader does.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use futures::future::join;
use kube::{
    Client,
    runtime::events::{Recorder, Reporter},
};
use tokio::{net::TcpListener, signal::unix, sync::watch, task::JoinSet};
use tracing::{error, info};

use crate::{
    config::Config,
    context::Context,
    definitions::Definitions,
    election::{Election, Ended, KubeLease, LEASE, Timings},
    http::{Readiness, Served, router},
    map::{self, Maps, Writer},
    metrics::Metrics,
    mirror, policy, poll,
    reports::Reports,
    stores::Stores,
};

/// What is waited for until the maps have been listed once: before that, this replica would answer 404 for maps that exist.
const MAPS: &str = "the first list of the mirror maps";

/// Why the operator stops with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No way to the API server is configured.
    #[error("no access to a Kubernetes API is configured: {0}")]
    Kube(#[source] Box<kube::Error>),
    /// The address cannot be listened on.
    #[error("cannot listen on GRANARY_LISTEN={listen}: {source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The signals cannot be handled.
    #[error("cannot handle signals: {0}")]
    Signal(#[source] io::Error),
    /// A metric is registered twice, or wrongly.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The HTTP client cannot be made.
    #[error("the client that asks holders cannot be made: {0}")]
    Asker(#[source] reqwest::Error),
    /// The lease is lost. What the work has spawned must not outlive it, so the process ends.
    #[error("the lease is lost; exiting, so that only its new holder writes")]
    LeaseLost,
    /// Something that runs for ever ended.
    #[error("the work of the leader ended by itself")]
    WorkEnded,
}

/// Runs until a signal, or until it must stop.
pub async fn run(config: Config) -> Result<(), RunError> {
    let config = Arc::new(config);
    let client = Client::try_default().await.map_err(|error| RunError::Kube(Box::new(error)))?;
    let reporter =
        Reporter { controller: "granary-operator".into(), instance: Some(config.pod_name.clone()) };
    let context = Arc::new(Context {
        recorder: Recorder::new(client.clone(), reporter),
        reports: Arc::new(Reports::default()),
        maps: Arc::new(Maps::default()),
        metrics: Arc::new(Metrics::new()?),
        config: Arc::clone(&config),
        client,
    });
    let asker = poll::Asker::new().map_err(RunError::Asker)?;
    let mut stop = Signals::new().map_err(RunError::Signal)?;
    let (there, defined) = watch::channel(false);
    // Dropped, and with it stopped, when this function returns.
    let mut every_replica = JoinSet::new();
    serve(&context, there, &mut every_replica).await?;

    let lease = KubeLease::new(context.client.clone(), &config.pod_namespace, LEASE);
    let election = Election::new(lease, config.pod_name.clone(), Timings::STANDARD);
    let work = || lead(Arc::clone(&context), asker, defined);
    match election.run(work, stop.wait()).await {
        Ended::Stopped => {
            info!("stopped");
            Ok(())
        }
        Ended::Lost => Err(RunError::LeaseLost),
        Ended::WorkEnded => Err(RunError::WorkEnded),
    }
}

/// Starts what every replica does: answering, and watching what it answers from.
async fn serve(
    context: &Context,
    there: watch::Sender<bool>,
    tasks: &mut JoinSet<()>,
) -> Result<(), RunError> {
    let Context { client, config, reports: _, maps, metrics, recorder } = context;
    let readiness = Arc::new(Readiness::default());
    let definitions = Definitions {
        client: client.clone(),
        recorder: recorder.clone(),
        config: Arc::clone(config),
        readiness: Arc::clone(&readiness),
        metrics: Arc::clone(metrics),
    };
    definitions.expect();
    readiness.set(MAPS, true);
    tasks.spawn(definitions.watch(there));

    let (watched, ready) = (Arc::clone(maps), Arc::clone(&readiness));
    let (client, only) = (client.clone(), config.watch_namespace.clone());
    tasks.spawn(async move {
        map::watch(client, only.as_deref(), watched, || ready.set(MAPS, false)).await;
    });

    let listen = config.listen;
    let listener = bind(listen).await.map_err(|source| RunError::Listen { listen, source })?;
    let served = Served { maps: Arc::clone(maps), metrics: Arc::clone(metrics), readiness };
    info!(%listen, "serving");
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router(served)).await {
            error!(%error, "serving");
        }
    });
    Ok(())
}

/// The leader's work. Ends only when one of its parts does.
async fn lead(context: Arc<Context>, asker: poll::Asker, mut defined: watch::Receiver<bool>) {
    context.metrics.leads(true);
    // An error means that nobody looks for definitions any more: this replica is about to end.
    if defined.wait_for(|there| *there).await.is_err() {
        return;
    }
    let (stores, following) = Stores::watch(&context);
    let stores = Arc::new(stores);
    // Tasks, so that they use all cores. They are aborted when this future is dropped.
    let mut tasks = JoinSet::new();
    tasks.spawn(following);
    let (of_map, of_poll) = (Arc::clone(&context), Arc::clone(&context));
    tasks.spawn(async move {
        // Before all is listed, what is missing may well exist, and must not be taken out of a map.
        if stores.ready().await.is_err() {
            return;
        }
        let writer = Writer::new(Arc::clone(&of_map), Arc::clone(&stores));
        join(writer.run(), poll::run(of_poll, stores, asker)).await;
    });
    tasks.spawn(policy::controller(Arc::clone(&context)));
    tasks.spawn(mirror::controller(context));
    if let Some(Err(error)) = tasks.join_next().await {
        error!(%error, "a part of the leader's work failed");
    }
}

/// The signals that ask to stop.
struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(unix::SignalKind::terminate())?,
            interrupt: unix::signal(unix::SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// `[::]` means every address, and on a machine without IPv6 those of IPv4.
async fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(listen).await {
        // EAFNOSUPPORT or EADDRNOTAVAIL: there is none. A port that is taken is another matter.
        Err(error)
            if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && error.kind() != ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, listen.port())).await
        }
        bound => bound,
    }
}
