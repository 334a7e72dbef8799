//! The narinfos of a closure, brought into the catalog before the artifact that needs them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use granary_nix::{HashPart, NarInfo, StorePath};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::lookup::Asker;
use super::race::Verdict;
use super::{Through, lock};
use crate::tree::{Tree, TreeError, references_first};

/// Closures that are walked at once. Few: the closure of the first thing that a client asks for mostly has the others.
const WALKS: usize = 4;
/// Narinfos that one walk asks for at once.
const AT_ONCE: usize = 32;
/// Walks that wait.
const MOST_WAITING: usize = 8192;
/// Largest closure that is kept: far above that of a whole system. Its narinfos are in memory during the walk.
const MOST_PATHS: usize = 50_000;

/// The walks that run or wait.
#[derive(Debug)]
pub(super) struct Closures {
    waiting: Mutex<HashSet<HashPart>>,
    walks: Semaphore,
    /// Held while the catalog is relied on and written, and while it is pruned.
    pub(super) catalog: tokio::sync::Mutex<()>,
}

impl Default for Closures {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            walks: Semaphore::new(WALKS),
            catalog: tokio::sync::Mutex::default(),
        }
    }
}

/// Why an artifact is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum Open {
    /// A reference that cannot be had.
    #[error("no upstream has its reference {0}")]
    Absent(StorePath),
    /// A reference of which nobody knows.
    #[error("its reference {path} cannot be had now: {why}")]
    Unknown { path: StorePath, why: Arc<str> },
    /// Another artifact has its place.
    #[error("the narinfo of its reference {wanted} is about {found}")]
    Other { wanted: StorePath, found: StorePath },
    /// Too much to keep.
    #[error("its closure has more than {MOST_PATHS} store paths")]
    TooLarge,
    /// The catalog could not be written.
    #[error(transparent)]
    Disk(#[from] TreeError),
    /// The process ends.
    #[error("the mirror is stopping")]
    Stopping,
}

impl Through {
    /// Brings the artifact's closure into the catalog by and by; does nothing when that is waiting already.
    pub(super) fn gather_later(&self, hash: HashPart) {
        let mut waiting = lock(&self.0.closures.waiting);
        if waiting.len() >= MOST_WAITING || self.0.tree.in_catalog(&hash) || !waiting.insert(hash) {
            return;
        }
        let through = self.clone();
        self.spawn(async move {
            if let Err(why) = through.gather(hash).await {
                tracing::info!(artifact = %hash, %why, "the closure of what a client asked for is not whole");
            }
            lock(&through.0.closures.waiting).remove(&hash);
        });
    }

    /// Brings the artifact's narinfo and those of its whole closure into the catalog.
    pub(super) async fn gather(&self, hash: HashPart) -> Result<(), Open> {
        let closures = &self.0.closures;
        let _walk = closures.walks.acquire().await.map_err(|_| Open::Stopping)?;
        // The walk of another artifact may have been over this one.
        if self.0.tree.in_catalog(&hash) {
            return Ok(());
        }
        let found = self.walk(hash).await?;
        let _held = closures.catalog.lock().await;
        let tree = Arc::clone(&self.0.tree);
        tokio::task::spawn_blocking(move || write(&tree, &found)).await.map_err(|_| Open::Stopping)?
    }

    /// The narinfos of the closure, except of what the catalog has, which has their closures too.
    async fn walk(&self, root: HashPart) -> Result<HashMap<HashPart, Arc<NarInfo>>, Open> {
        let mut found: HashMap<HashPart, Arc<NarInfo>> = HashMap::new();
        let mut seen = HashSet::from([root]);
        let mut open: VecDeque<(HashPart, Option<StorePath>)> = [(root, None)].into();
        let mut running = JoinSet::new();
        loop {
            while running.len() < AT_ONCE
                && let Some((hash, path)) = open.pop_front()
            {
                if !self.0.tree.in_catalog(&hash) {
                    let through = self.clone();
                    running.spawn(async move { (hash, path, through.look_up(&hash, Asker::Closure).await) });
                }
            }
            let Some(answer) = running.join_next().await else { return Ok(found) };
            let (hash, path, verdict) = answer.map_err(|_| Open::Stopping)?;
            let info = match (verdict, path) {
                (Verdict::Found(it), Some(wanted)) if it.info.store_path != wanted => {
                    return Err(Open::Other { wanted, found: it.info.store_path.clone() });
                }
                (Verdict::Found(it), _) => it.info,
                (Verdict::Absent, Some(path)) => return Err(Open::Absent(path)),
                (Verdict::Unknown(why), Some(path)) => return Err(Open::Unknown { path, why }),
                // The root itself was found a moment ago.
                (Verdict::Absent | Verdict::Unknown(_), None) => return Err(Open::Stopping),
            };
            let references = info.references.iter().filter(|path| seen.insert(path.hash_part()));
            open.extend(references.map(|path| (path.hash_part(), Some(path.clone()))));
            found.insert(hash, info);
            if found.len() > MOST_PATHS {
                return Err(Open::TooLarge);
            }
        }
    }
}

/// Writes what was found, references first. What the walk relied on in the catalog may have been pruned since.
fn write(tree: &Tree, found: &HashMap<HashPart, Arc<NarInfo>>) -> Result<(), Open> {
    let all: HashSet<HashPart> = found.keys().copied().collect();
    let order = references_first(&all, |hash| {
        found.get(hash).into_iter().flat_map(|info| info.references.iter().map(StorePath::hash_part))
    });
    let mut there = HashSet::with_capacity(order.len());
    for info in order.iter().filter_map(|hash| found.get(hash)) {
        let absent = info.references.iter().find(|path| {
            let hash = path.hash_part();
            **path != info.store_path && !there.contains(&hash) && !tree.in_catalog(&hash)
        });
        if let Some(path) = absent {
            return Err(Open::Absent(path.clone()));
        }
        there.insert(info.store_path.hash_part());
    }
    Ok(tree.put_in_catalog(order.iter().filter_map(|hash| found.get(hash)).map(AsRef::as_ref))?)
}
