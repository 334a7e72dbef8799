//! The files beside artifacts: had from the upstreams with their artifact, made from the NAR, and asked for on a miss.
//!
//! * [`check`]: what such a file must be before it is served. Pure.
//! * [`ask`]: has one from the upstreams, in order of priority.
//! * [`made`]: listings and debug indexes from the NAR on the disk.
//! * [`complete`]: everything that belongs to one artifact.
//! * [`sweep`]: what was published, and from time to time everything that is there, in the background.
//!
//! None of it is needed for an artifact to be good: nothing here refuses one, or makes its publication wait.

mod ask;
mod check;
mod complete;
mod made;
mod sweep;

use std::sync::Arc;

use granary_fetch::{Fetcher, Source};
use granary_nix::{Extra, ExtraKind, HashPart, NarInfo};
use tokio::sync::Semaphore;

use crate::config::{Extras, Listings};
use crate::metrics::{ExtraMetrics, ExtraResult};
use crate::tree::{TempFile, Tree};

pub(crate) use ask::names;
pub use ask::{Asked, Found};
pub use check::{Bad, Checked, check, keys_of, most_bytes};
pub use complete::Completed;
pub(crate) use complete::build_trace;
pub(crate) use made::{is_debug, is_indexed, list, missing};
pub use sweep::{Pace, complete_fresh, keep};

/// What most of these files are smaller than, in bytes.
const SMALL: u64 = 1 << 20;

/// Keeps the files beside the artifacts of one tree.
#[derive(Debug)]
pub struct Keeper {
    tree: Arc<Tree>,
    fetcher: Fetcher,
    wants: Extras,
    /// In the order in which they are asked.
    upstreams: Vec<Source>,
    metrics: ExtraMetrics,
    /// Listings are held in memory, and NARs keep a core busy: one at a time.
    reading: Semaphore,
}

impl Keeper {
    /// For this tree, from these upstreams.
    #[must_use]
    pub fn new(
        tree: Arc<Tree>,
        fetcher: Fetcher,
        wants: Extras,
        upstreams: Vec<Source>,
        metrics: ExtraMetrics,
    ) -> Self {
        Self { tree, fetcher, wants, upstreams, metrics, reading: Semaphore::new(1) }
    }

    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Arc<Tree> {
        &self.tree
    }

    /// The upstreams, in the order in which they are asked.
    #[must_use]
    pub fn upstreams(&self) -> &[Source] {
        &self.upstreams
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &ExtraMetrics {
        &self.metrics
    }

    /// Whether files of this kind are had from elsewhere.
    #[must_use]
    pub fn wants(&self, kind: ExtraKind) -> bool {
        self.wants.has(kind)
    }

    /// Whether listings are made where no upstream has them.
    fn makes_listings(&self) -> bool {
        self.wants.listings == Listings::Make
    }

    /// The narinfo of an artifact that is published here.
    async fn published(&self, hash: HashPart) -> Option<NarInfo> {
        self.blocking(move |tree| tree.published_narinfo(&hash)).await?
    }

    /// What the signed narinfo of an artifact, published or in the catalog, says about the size of its NAR.
    pub async fn nar_size(&self, hash: HashPart) -> Option<u64> {
        let look = move |tree: &Tree| tree.published_narinfo(&hash).or_else(|| tree.catalog_narinfo(&hash));
        self.blocking(look).await.flatten().map(|info| info.nar_size)
    }

    /// Makes the listing of a published artifact, if listings are made. Whether it is there.
    pub async fn made_listing(&self, hash: &HashPart) -> bool {
        self.makes_listings() && self.indexed(hash).await
    }

    /// Reads the NAR of a published artifact and writes what is wanted of it. Whether its listing is there.
    pub async fn indexed(&self, hash: &HashPart) -> bool {
        let Some(info) = self.published(*hash).await else { return false };
        if let Err(error) = self.make(&info).await {
            tracing::warn!(path = %info.store_path, %error, "nothing can be made from a NAR");
        }
        self.tree.has_extra(&Extra::Listing(*hash))
    }

    /// Whether the disk has no room even for something small, whatever had none before.
    fn is_full(&self) -> bool {
        !self.tree.has_room(SMALL)
    }

    /// Puts a file that was found into the tree. It is given back when its artifact is not published here, or the disk is
    /// full.
    pub async fn store(&self, extra: &Extra, found: Found) -> Result<Option<TempFile>, String> {
        let Found { file, artifact, checked: _ } = found;
        if self.is_full() {
            return Ok(Some(file));
        }
        let named = extra.clone();
        match self.blocking(move |tree| tree.put_extra(&named, artifact.as_ref(), file)).await {
            Some(Ok(left)) => {
                if left.is_none() {
                    self.metrics.file(extra.kind(), ExtraResult::Mirrored);
                }
                Ok(left)
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the process is stopping".into()),
        }
    }

    /// `None`: the process is stopping.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Tree) -> T + Send + 'static) -> Option<T> {
        let tree = Arc::clone(&self.tree);
        tokio::task::spawn_blocking(move || work(&tree)).await.ok()
    }
}
