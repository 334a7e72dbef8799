//! The closure of the roots: which artifacts there are, by narinfos that are trusted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use granary_nix::{HashPart, NarInfo, StorePath, Trust};
use tokio::task::JoinSet;

use super::memory::Memory;
use super::obtain::{Context, Found, Problem};

/// Narinfos that are asked for at once.
const AT_ONCE: usize = 32;

/// What became of the paths in the closure.
#[derive(Debug, Default)]
pub(super) struct Closure {
    /// Those with a narinfo that counts.
    pub(super) found: HashMap<HashPart, Found>,
    /// Those without, and why.
    pub(super) lost: HashMap<HashPart, (StorePath, Problem)>,
}

impl Closure {
    /// Everything lost that may refer to anything: all but what was only listed by somebody, and what every upstream says it
    /// does not have.
    pub(super) fn unexplained<'c>(
        &'c self,
        listed: &'c HashSet<HashPart>,
    ) -> impl Iterator<Item = (&'c StorePath, &'c Problem)> {
        let explained =
            |hash: &HashPart, problem: &Problem| !problem.fault.is_transient() && listed.contains(hash);
        let open = self.lost.iter().filter(move |(hash, (_, problem))| !explained(hash, problem));
        open.map(|(_, (path, problem))| (path, problem))
    }
}

/// Resolves the closure of `roots`, many narinfos at once. What is known from earlier, or is on our disk and meets
/// `trust`, is not asked for, unless it is in doubt.
pub(super) async fn resolve(
    context: &Context,
    memory: &mut Memory,
    trust: &Arc<Trust>,
    roots: impl Iterator<Item = &StorePath>,
) -> Closure {
    let mut closure = Closure::default();
    let mut seen = HashSet::new();
    let mut open: VecDeque<StorePath> = VecDeque::new();
    let mut running: JoinSet<(StorePath, Result<Found, Problem>)> = JoinSet::new();
    open.extend(roots.filter(|root| seen.insert(root.hash_part())).cloned());
    loop {
        while running.len() < AT_ONCE
            && let Some(path) = open.pop_front()
        {
            let hash = path.hash_part();
            let doubtful = memory.is_doubtful(&hash);
            if let Some(info) = memory.known.get(&hash).filter(|info| !doubtful && info.store_path == path) {
                open.extend(info.references.iter().filter(|path| seen.insert(path.hash_part())).cloned());
                closure.found.insert(hash, Found { info: Arc::clone(info), origin: None });
                continue;
            }
            let (context, trust) = (context.clone(), Arc::clone(trust));
            running.spawn(async move {
                let found = one(&context, trust, &path, doubtful).await;
                (path, found)
            });
        }
        // A task of ours does not panic; if one did, its path would be missing from the closure, and nothing worse.
        let Some(Ok((path, result))) = running.join_next().await else { break };
        let hash = path.hash_part();
        match result {
            Ok(found) => {
                open.extend(
                    found.info.references.iter().filter(|path| seen.insert(path.hash_part())).cloned(),
                );
                memory.known.insert(hash, Arc::clone(&found.info));
                closure.found.insert(hash, found);
            }
            Err(problem) => {
                closure.lost.insert(hash, (path, problem));
            }
        }
    }
    closure
}

async fn one(
    context: &Context,
    trust: Arc<Trust>,
    path: &StorePath,
    doubtful: bool,
) -> Result<Found, Problem> {
    if doubtful {
        return match context.find(path).await {
            Err(problem) if problem.fault.is_transient() => {
                on_disk(context, trust, path).await.ok_or(problem)
            }
            result => result,
        };
    }
    match on_disk(context, trust, path).await {
        Some(found) => Ok(found),
        None => context.find(path).await,
    }
}

/// The narinfo in the tree, else in the catalog, if it is about `path` and still trusted.
async fn on_disk(context: &Context, trust: Arc<Trust>, path: &StorePath) -> Option<Found> {
    let (tree, path) = (Arc::clone(&context.tree), path.clone());
    let read = move || {
        let hash = path.hash_part();
        let good = |info: &NarInfo| info.store_path == path && trust.judge(info).is_ok();
        let published = tree.published_narinfo(&hash).filter(good);
        if published.is_none() && tree.holds(&hash) {
            tracing::warn!(%path, "the published narinfo cannot be read, or is not one that is trusted now; the artifact is pulled again");
            tree.forget(&hash);
        }
        let info = published.or_else(|| tree.catalog_narinfo(&hash).filter(good))?;
        Some(Found { info: Arc::new(info), origin: None })
    };
    tokio::task::spawn_blocking(read).await.ok()?
}
