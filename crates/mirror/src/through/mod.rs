//! Pull-through: what clients ask for and nobody wanted before is had from the upstreams, passed on, verified and kept.
//!
//! * [`race`]: one narinfo from several upstreams, the silent ones not waited for.
//! * [`lookup`]: narinfos that clients ask for: one question at a time for each, with a short memory of yes and no.
//! * [`closure`]: brings the narinfos of a whole closure into the catalog, references first.
//! * [`flight`]: NAR files: one transfer for all who ask, who read the file while it is written.
//! * [`keep`]: what becomes of a file that has come whole, and the room for it.
//! * [`reclaim`]: who leaves when there is no room.
//! * [`access`]: when clients last had what.
//! * [`upkeep`]: what has to be done from time to time.
//!
//! A narinfo that a client asks for is answered as soon as it is verified, from memory. Meanwhile the narinfos of its
//! closure are fetched, breadth first, as the client will ask for them; then all of them are put into the catalog,
//! references first, and nginx answers for them. A NAR file is published when it is verified and its artifact's closure is
//! in the catalog, and there is room for it. So what is visible in the tree is closed, as everything else in it is; where the upstreams lack a
//! reference, clients are served, and nothing is kept.

mod access;
mod closure;
mod flight;
mod keep;
mod lookup;
mod race;
mod recent;
mod reclaim;
mod upkeep;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use granary_fetch::{Fault, Fetcher, FetcherError, Limits, Source};
use granary_nix::HashPart;
use granary_placement::report::Refusal;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::PullThrough;
use crate::lately::Lately;
use crate::metrics::ThroughMetrics;
use crate::refusals::Refusals;
use crate::tree::{CatalogEntry, Tree};
use crate::wants::Wants;

pub use flight::{Begun, Reader};
pub use lookup::Answer;

/// Longest time that an upstream may be silent when it is asked for a narinfo: a client waits.
const SILENCE: Duration = Duration::from_secs(5);
/// Longest time to connect for a narinfo.
const CONNECT: Duration = Duration::from_secs(3);

/// How long an upstream is not asked again for a NAR file that was wrong: it may have put it right by then.
const WRONG: Duration = Duration::from_mins(10);
/// Such files that are remembered.
const MOST_WRONG: usize = 1024;

/// Who is told of what is done.
#[derive(Clone, Debug)]
pub struct Told {
    /// Of everything.
    pub metrics: Arc<ThroughMetrics>,
    /// Of what may not be passed on.
    pub refusals: Arc<Refusals>,
}

/// Answers what is neither in the tree nor in the catalog. A cheap handle.
#[derive(Clone, Debug)]
pub struct Through(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    tree: Arc<Tree>,
    /// In the order in which they are asked.
    upstreams: Arc<[Source]>,
    /// For narinfos: gives up soon.
    asking: Fetcher,
    /// For NAR files.
    fetching: Fetcher,
    lookups: lookup::Lookups,
    closures: closure::Closures,
    flights: flight::Flights,
    /// URLs of NAR files that were wrong, which are not asked for again for a while.
    wrong: Lately<String>,
    space: keep::Space,
    accesses: access::Accesses,
    wants: Arc<Wants>,
    metrics: Arc<ThroughMetrics>,
    refusals: Arc<Refusals>,
    tasks: TaskTracker,
    /// Ends them.
    stop: CancellationToken,
}

impl Through {
    /// For this tree and these upstreams, within the limits of `fetcher` for each transfer, and sharing the upstreams'
    /// connections and bandwidth with it. Its work is done in `tasks`, until `stop`.
    pub fn new(
        tree: Arc<Tree>,
        upstreams: &[Source],
        fetcher: &Fetcher,
        settings: PullThrough,
        wants: Arc<Wants>,
        told: Told,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Result<Self, FetcherError> {
        let limits = fetcher.limits();
        let asking = Limits {
            silence: limits.silence.min(SILENCE),
            connect: limits.connect.min(CONNECT),
            ..limits.clone()
        };
        let fetching = Limits { connections: flight::AT_ONCE, ..limits.clone() };
        // Losing it only makes everything look alike.
        let accesses = std::fs::read_to_string(tree.layout().accesses()).unwrap_or_default();
        let space = keep::Space::new(settings.max_size, Arc::clone(&tree));
        Ok(Self(Arc::new(Shared {
            accesses: access::Accesses::read(&accesses),
            wants,
            tree,
            upstreams: upstreams.into(),
            asking: fetcher.with_limits(asking)?,
            fetching: fetcher.with_limits(fetching)?,
            lookups: lookup::Lookups::default(),
            closures: closure::Closures::default(),
            flights: flight::Flights::default(),
            wrong: Lately::new(WRONG, MOST_WRONG),
            space,
            metrics: told.metrics,
            refusals: told.refusals,
            tasks,
            stop,
        })))
    }

    /// Does something in the background, whatever becomes of the client who asked for it.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move { stop.run_until_cancelled(work).await });
    }

    /// What is known about the NAR file of this name, `<hash>.nar[.<compression>]`: from the catalog, else from a narinfo
    /// that was answered a moment ago.
    #[must_use]
    pub fn find_nar(&self, file: &str) -> Option<CatalogEntry> {
        self.0.tree.find_nar(file).or_else(|| self.0.lookups.by_nar_name(file))
    }

    /// Whether a policy or a channel wants the artifact, as far as is known.
    #[must_use]
    pub fn may_want(&self, hash: &HashPart) -> bool {
        self.0.wants.may_want(hash)
    }

    /// Whether the artifact's narinfo was answered, or is in the catalog.
    #[must_use]
    pub fn knows(&self, hash: &HashPart) -> bool {
        self.0.tree.in_catalog(hash) || self.0.lookups.recent(hash).is_some()
    }
}

/// The report's word for what is wrong with an artifact, by its path, or by its hash part where that is not known.
fn refusal(store_path: String, Fault { reason, message }: Fault, source: String) -> Refusal {
    Refusal { store_path, reason, message, source }
}

/// What is behind these locks is whole after each single operation, so that a thread that panicked left no damage.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
