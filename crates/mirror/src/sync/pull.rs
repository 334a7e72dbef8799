//! Pulls many artifacts at once, and publishes those that are whole, several together, when all that they reference is.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_fetch::{Expected, Fault};
use granary_nix::{StorePath, Trust};
use granary_placement::report::RefusalReason;
use tokio::task::{AbortHandle, JoinSet};
use tracing::Instrument as _;

use super::board::Board;
use super::gather::{AT_ONCE, Gather};
use super::kept;
use super::obtain::{Context, Found, Obtained, Problem};
use super::plan::Blame;
use super::resolve;
use super::schedule::Schedule;
use crate::capacity::NoRoom;
use crate::tree::{Contents, Publication, Tree, TreeError};

/// Artifacts in work for each connection: most of them wait for a decoder.
const IN_WORK: usize = 4;

/// One artifact to pull.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) path: StorePath,
    /// Bytes of the decompressed NAR.
    pub(super) nar_size: u64,
    /// Its narinfo, if the catalog does not have it as it is here.
    pub(super) found: Option<Found>,
    /// Why it is not even tried: it was refused a moment ago.
    pub(super) standing: Option<RefusalReason>,
}

/// What became of one.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) path: StorePath,
    /// What was had, if it is published now. `Ok(None)` for what was not tried.
    pub(super) result: Result<Option<Got>, Problem>,
    /// How long that took, with waiting for what it needs.
    pub(super) took: Duration,
}

/// A published NAR file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Got {
    /// Its bytes.
    pub(super) bytes: u64,
    /// The URL of the source that gave it.
    pub(super) source: String,
}

/// What was published together: place, NAR file, and what became of it.
type Published = Vec<(usize, Got, Result<(), TreeError>)>;

/// Pulls all of `orders`, which come references before referrers, and tells `done` about each. `board` has the same in the same
/// order. Nothing is published before `ready` is.
pub(super) async fn pull_all(
    context: &Context,
    trust: &Arc<Trust>,
    (orders, board): (Vec<Order>, Board),
    ready: impl Future<Output = ()>,
    done: impl FnMut(Pulled),
) {
    let (mut ready, mut is_ready) = (pin!(ready), false);
    let limits = context.fetcher.limits();
    let most = limits.connections.max(1) * IN_WORK;
    let sizes = orders.iter().map(|order| order.nar_size).collect();
    let mut schedule = Schedule::new(sizes, limits.decoders);
    let mut pull =
        Pull { orders, board, done, begun: HashMap::new(), since: HashMap::new(), obtained: HashMap::new() };
    let mut fetching: JoinSet<(usize, Result<Obtained, Problem>)> = JoinSet::new();
    let mut publishing: JoinSet<Published> = JoinSet::new();
    let mut gather = Gather::new(tokio::time::Instant::now());
    pull.refuse_what_stands();
    loop {
        while fetching.len() < most
            && let Some(place) = schedule.next()
        {
            if pull.board.is_open(place) {
                let Order { path, found, .. } = &pull.orders[place];
                let span = tracing::debug_span!("artifact", %path);
                let (context, trust) = (context.clone(), Arc::clone(trust));
                let (path, found) = (path.clone(), found.clone());
                let task = async move { (place, obtain(&context, trust, &path, found).await) };
                pull.begun.insert(place, fetching.spawn(task.instrument(span)));
                pull.since.insert(place, Instant::now());
            }
        }
        // The next batch gathers while one is on its way, and for a moment more.
        let now = tokio::time::Instant::now();
        if is_ready && publishing.is_empty() && gather.is_due(now, pull.obtained.len(), fetching.len()) {
            gather.left(now);
            if let Some(batch) = pull.batch() {
                let tree = Arc::clone(&context.tree);
                publishing.spawn_blocking(move || publish(&tree, batch));
            }
        }
        let gathers = is_ready && publishing.is_empty() && !fetching.is_empty() && !pull.obtained.is_empty();
        // A task of ours does not panic; if one did, its path would be told nothing about, and nothing worse.
        tokio::select! {
            () = &mut ready, if !is_ready => is_ready = true,
            Some(fetched) = fetching.join_next() => {
                if let Ok((place, result)) = fetched {
                    pull.fetched(place, result);
                }
            }
            Some(published) = publishing.join_next() => {
                if let Ok(list) = published {
                    pull.published(list);
                }
            }
            () = gather.pause(), if gathers => {}
            else => break,
        }
    }
}

fn publish(tree: &Tree, batch: Vec<((usize, Got), Publication)>) -> Published {
    let (places, publications): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
    let outcomes = tree.publish_all(publications);
    places.into_iter().zip(outcomes).map(|((place, got), outcome)| (place, got, outcome)).collect()
}

/// Takes it back from the trash, or fetches it if there is room for it. `found` is its narinfo, if that is not in the catalog.
async fn obtain(
    context: &Context,
    trust: Arc<Trust>,
    path: &StorePath,
    found: Option<Found>,
) -> Result<Obtained, Problem> {
    let found = match found {
        Some(found) => found,
        None => resolve::find(context, trust, path).await?,
    };
    if let Some(obtained) = kept::take_back(context, &found.info).await {
        return Ok(obtained);
    }
    let size = Expected::from(&*found.info).most_bytes();
    let no_room = |error: NoRoom| {
        let reason = if error == NoRoom::ReadOnly { RefusalReason::Disk } else { RefusalReason::NoSpace };
        Problem::new(Fault::new(reason, error.to_string()), String::new())
    };
    // Given back when the bytes are on the disk: what waits for others to be published must not hold up their room.
    let _room = match context.tree.admit(size).await {
        Err(_) if give_up_partials(context).await => context.tree.admit(size).await,
        admitted => admitted,
    }
    .map_err(no_room)?;
    context.obtain(&found).await
}

/// Whether that made room.
async fn give_up_partials(context: &Context) -> bool {
    let tree = Arc::clone(&context.tree);
    tokio::task::spawn_blocking(move || tree.give_up_partials(None)).await.is_ok_and(|bytes| bytes > 0)
}

/// One call of [`pull_all`].
struct Pull<D> {
    orders: Vec<Order>,
    board: Board,
    done: D,
    /// What is being fetched.
    begun: HashMap<usize, AbortHandle>,
    /// When that began, of everything that nothing was told about yet.
    since: HashMap<usize, Instant>,
    /// What is whole and not yet being published.
    obtained: HashMap<usize, Obtained>,
}

impl<D: FnMut(Pulled)> Pull<D> {
    fn refuse_what_stands(&mut self) {
        for place in 0..self.orders.len() {
            if let Some(reason) = self.orders[place].standing {
                self.refuse(place, Ok(None), reason);
            }
        }
    }

    fn fetched(&mut self, place: usize, result: Result<Obtained, Problem>) {
        self.begun.remove(&place);
        match result {
            Ok(obtained) if self.board.is_open(place) => {
                self.board.whole(place);
                self.obtained.insert(place, obtained);
            }
            Ok(_) => {}
            Err(problem) => {
                let reason = problem.fault.reason;
                self.refuse(place, Err(problem), reason);
            }
        }
    }

    /// What can be published now.
    fn batch(&mut self) -> Option<Vec<((usize, Got), Publication)>> {
        let places = self.board.batch(AT_ONCE);
        let take = |place: usize| {
            let Obtained { info, verified, file, source } = self.obtained.remove(&place)?;
            let contents = Contents { file_hash: verified.file_hash, file_size: verified.file_size };
            Some((
                (place, Got { bytes: contents.file_size, source }),
                Publication { info, contents, nar: file },
            ))
        };
        let batch: Vec<_> = places.into_iter().filter_map(take).collect();
        (!batch.is_empty()).then_some(batch)
    }

    fn published(&mut self, list: Published) {
        let mut failed = Vec::new();
        for (place, got, outcome) in list {
            match outcome {
                Ok(()) => {
                    self.board.published(place);
                    self.tell(place, Ok(Some(got)));
                }
                Err(error) => failed.push((place, Fault::from(error))),
            }
        }
        // References first, so that what failed only because of them is told so.
        for (place, fault) in failed {
            let reason = fault.reason;
            self.refuse(place, Err(Problem::new(fault, String::new())), reason);
        }
    }

    /// Refuses one, with this to tell, and everything that needs it: there is no need to fetch what cannot be published.
    fn refuse(&mut self, place: usize, result: Result<Option<Got>, Problem>, reason: RefusalReason) {
        let refused = self.board.refuse(place);
        let blame = Blame { culprit: self.orders[place].path.clone(), reason };
        let mut result = Some(result);
        for refused in refused {
            if let Some(task) = self.begun.remove(&refused) {
                task.abort();
            }
            self.obtained.remove(&refused);
            let result = result.take().unwrap_or_else(|| Err(Problem::from(&blame)));
            self.tell(refused, result);
        }
    }

    fn tell(&mut self, place: usize, result: Result<Option<Got>, Problem>) {
        let took = self.since.remove(&place).map(|began| began.elapsed()).unwrap_or_default();
        let order = &mut self.orders[place];
        order.found = None;
        (self.done)(Pulled { path: order.path.clone(), result, took });
    }
}

impl From<TreeError> for Fault {
    fn from(error: TreeError) -> Self {
        let reason = match &error {
            TreeError::ReferenceMissing { .. } => RefusalReason::MissingReference,
            TreeError::Io { .. }
            | TreeError::InUse { .. }
            | TreeError::Referred { .. }
            | TreeError::NotThere { .. } => RefusalReason::Disk,
        };
        Self::new(reason, error.to_string())
    }
}
