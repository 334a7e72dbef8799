//! A process that pulls through what its client asks for.

use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt as _;
use granary_fetch::{Fetcher, Limits, Source, SourceKind};
use granary_nix::{CacheInfo, StorePath};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::child::say;
use crate::common::Cache;
use crate::compact::HashParts;
use crate::config::PullThrough;
use crate::metrics::Metrics;
use crate::refusals::Refusals;
use crate::through::{Answer, Begun, Through, Told};
use crate::tree::Tree;
use crate::wants::Wants;

/// What is said when an artifact is kept.
pub(super) const KEPT: &str = "kept";

/// A mirror that wants nothing by itself.
pub(super) struct Site {
    tree: Arc<Tree>,
    through: Through,
    tasks: TaskTracker,
}

impl Site {
    /// With an upstream that has `cache`, and so many bytes of room.
    pub(super) fn new(directory: &Path, upstream: &str, cache: &Cache, max_size: u64) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tree = Arc::new(Tree::open(directory, &CacheInfo::default()).unwrap());
        let source = Source::new(upstream.parse().unwrap(), &cache.keys(), 40, SourceKind::Upstream);
        let (tasks, wants) = (TaskTracker::new(), Arc::<Wants>::default());
        wants.set_policies(Some(HashParts::default()));
        wants.set_channels(Some(HashParts::default()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let refusals = Arc::new(Refusals::new(Arc::clone(&tree), Arc::clone(&metrics)));
        let told = Told { metrics: Arc::clone(&metrics.through), refusals };
        let fetcher = Fetcher::new(Limits::default()).unwrap();
        let until = (tasks.clone(), CancellationToken::new());
        let held = Arc::clone(&tree);
        let through =
            Through::new(held, &[source], &fetcher, PullThrough { max_size }, wants, told, until).unwrap();
        Self { tree, through, tasks }
    }

    /// A client asks for an artifact: its narinfo, which brings the closure's, and then its NAR file, of which it gets the
    /// right bytes. Says so when it is kept.
    pub(super) async fn get(&self, cache: &Cache, path: &StorePath) {
        let hash = path.hash_part();
        let Answer::Found(info) = self.through.narinfo(&hash).await else { panic!("{path} is not had") };
        self.settled().await;
        let file = info.url.strip_prefix("nar/").unwrap();
        let known = self.through.find_nar(file).unwrap();
        let artifact = cache.artifacts.iter().find(|artifact| artifact.info.store_path == *path).unwrap();
        if let Some(mut reader) = self.through.open(file, known) {
            assert!(matches!(reader.begin().await, Begun::File { .. }));
            let chunks: Vec<bytes::Bytes> = reader.body(None).try_collect().await.unwrap();
            assert!(chunks.concat() == artifact.file, "{path}: the bytes of the file");
        }
        self.settled().await;
        if self.tree.holds(&hash) {
            say(KEPT, hash);
        }
    }

    /// Whether it has been asked for everything before.
    pub(super) fn knows_all(&self, cache: &Cache) -> bool {
        cache.artifacts.iter().all(|artifact| self.tree.in_catalog(&artifact.info.store_path.hash_part()))
    }

    /// Waits for everything that goes on after the client was answered.
    async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
    }
}
