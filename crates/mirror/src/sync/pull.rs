//! Pulls many artifacts at once and publishes each when all that it references is published.

use std::collections::HashMap;
use std::sync::Arc;

use granary_fetch::Fault;
use granary_nix::{HashPart, StorePath};
use granary_placement::report::RefusalReason;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::obtain::{Context, Found, Problem};
use super::plan::Blame;
use crate::tree::{Contents, TreeError};

/// Artifacts in work for each connection: most of them wait for a decoder, or for a reference to be published.
const IN_WORK: usize = 4;

/// One artifact to pull.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) found: Found,
    /// Why it is not even tried: it was refused a moment ago.
    pub(super) standing: Option<RefusalReason>,
}

/// What became of one.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) path: StorePath,
    /// Bytes of the NAR file, if it is published now. `Ok(None)` for what was not tried.
    pub(super) result: Result<Option<u64>, Problem>,
}

/// How far an artifact is, for those that wait for it.
#[derive(Clone, Debug)]
enum State {
    InWork,
    Published,
    Refused(Blame),
}

/// Pulls all of `orders`, which come references before referrers, and tells `done` about each.
pub(super) async fn pull_all(context: &Context, orders: Vec<Order>, mut done: impl FnMut(Pulled)) {
    let most = context.fetcher.limits().connections.max(1) * IN_WORK;
    let mut gates: HashMap<HashPart, watch::Receiver<State>> = HashMap::with_capacity(orders.len());
    let mut running: JoinSet<Pulled> = JoinSet::new();
    for order in orders {
        // The eldest in work waits for nobody, so that the others do not wait for ever.
        while running.len() >= most {
            running.join_next().await.into_iter().flatten().for_each(&mut done);
        }
        let path = &order.found.info.store_path;
        let (settle, gate) = watch::channel(State::InWork);
        let needed = order.found.info.references.iter().filter(|reference| *reference != path);
        let needed = needed.filter_map(|reference| gates.get(&reference.hash_part()).cloned()).collect();
        gates.insert(path.hash_part(), gate);
        running.spawn(one(context.clone(), order, needed, settle));
    }
    while let Some(pulled) = running.join_next().await {
        pulled.into_iter().for_each(&mut done);
    }
}

async fn one(
    context: Context,
    order: Order,
    needed: Vec<watch::Receiver<State>>,
    settle: watch::Sender<State>,
) -> Pulled {
    let Order { found, standing } = order;
    let path = found.info.store_path.clone();
    let own = |reason| Blame { culprit: path.clone(), reason };
    let (state, result) = match standing {
        Some(reason) => (State::Refused(own(reason)), Ok(None)),
        None => match attempt(&context, &found, needed).await {
            Ok(bytes) => (State::Published, Ok(Some(bytes))),
            Err(Failure::Needs(blame)) => (State::Refused(blame.clone()), Err(Problem::from(&blame))),
            Err(Failure::Own(problem)) => (State::Refused(own(problem.fault.reason)), Err(problem)),
        },
    };
    settle.send_replace(state);
    Pulled { path, result }
}

enum Failure {
    /// Something that it needs is refused.
    Needs(Blame),
    /// It is itself to blame.
    Own(Problem),
}

async fn attempt(
    context: &Context,
    found: &Found,
    needed: Vec<watch::Receiver<State>>,
) -> Result<u64, Failure> {
    let obtained = tokio::select! {
        biased;
        // No need to fetch what could not be published.
        Err(failure) = published(needed.clone()) => return Err(failure),
        obtained = context.obtain(found) => obtained.map_err(Failure::Own)?,
    };
    published(needed).await?;
    let tree = Arc::clone(&context.tree);
    let publish = move || {
        let contents =
            Contents { file_hash: obtained.verified.file_hash, file_size: obtained.verified.file_size };
        tree.publish(&obtained.info, &contents, obtained.file).map(|()| contents.file_size)
    };
    let result = tokio::task::spawn_blocking(publish).await;
    let fault = match result {
        Ok(Ok(bytes)) => return Ok(bytes),
        Ok(Err(error)) => Fault::from(error),
        Err(error) => Fault::new(RefusalReason::Disk, error.to_string()),
    };
    Err(Failure::Own(Problem::new(fault, String::new())))
}

/// Waits until all are published, or the first of them is refused.
async fn published(needed: Vec<watch::Receiver<State>>) -> Result<(), Failure> {
    for mut gate in needed {
        // A sender that is gone without a word belonged to a task that was ended, as this one will be.
        let state = gate.wait_for(|state| !matches!(state, State::InWork)).await;
        if let Ok(state) = state
            && let State::Refused(blame) = &*state
        {
            return Err(Failure::Needs(blame.clone()));
        }
    }
    Ok(())
}

impl From<TreeError> for Fault {
    fn from(error: TreeError) -> Self {
        let reason = match &error {
            TreeError::ReferenceMissing { .. } => RefusalReason::MissingReference,
            TreeError::Io { .. } | TreeError::InUse { .. } => RefusalReason::Disk,
        };
        Self::new(reason, error.to_string())
    }
}
