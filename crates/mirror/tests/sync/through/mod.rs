//! Pull-through: what clients ask for, from upstreams that behave and from some that do not.

mod full;
mod narinfos;
mod nars;
mod room;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use granary_fetch::{Fetcher, Limits, Source};
use granary_mirror::compact::HashParts;
use granary_mirror::config::PullThrough;
use granary_mirror::metrics::Metrics;
use granary_mirror::refusals::Refusals;
use granary_mirror::through::{Answer, Begun, Reader, Through, Told};
use granary_mirror::tree::Tree;
use granary_mirror::wants::Wants;
use granary_nix::{CacheInfo, NarInfo, StorePath};
use granary_placement::report::RefusalReason;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::common::SILENCE;

/// A mirror that wants nothing by itself.
struct Site {
    directory: Arc<tempfile::TempDir>,
    tree: Arc<Tree>,
    through: Through,
    refusals: Arc<Refusals>,
    metrics: Arc<Metrics>,
    tasks: TaskTracker,
    stop: CancellationToken,
    wants: Arc<Wants>,
}

impl Site {
    fn new(upstreams: &[Source]) -> Self {
        Self::with(upstreams, 1 << 30, SILENCE)
    }

    fn with(upstreams: &[Source], max_size: u64, silence: Duration) -> Self {
        Self::on(Arc::new(tempfile::tempdir().unwrap()), upstreams, max_size, silence)
    }

    fn on(directory: Arc<tempfile::TempDir>, upstreams: &[Source], max_size: u64, silence: Duration) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tree = Arc::new(Tree::open(directory.path(), &CacheInfo::default()).unwrap());
        let limits = Limits { silence, connect: SILENCE, ..Limits::default() };
        let (tasks, wants) = (TaskTracker::new(), Arc::<Wants>::default());
        wants.set_policies(Some(HashParts::default()));
        wants.set_channels(Some(HashParts::default()));
        let stop = CancellationToken::new();
        let until = (tasks.clone(), stop.clone());
        let (settings, metrics) = (PullThrough { max_size }, Arc::new(Metrics::new().unwrap()));
        let refusals = Arc::new(Refusals::new(Arc::clone(&tree), Arc::clone(&metrics)));
        let told = Told { metrics: Arc::clone(&metrics.through), refusals: Arc::clone(&refusals) };
        let fetcher = Fetcher::new(limits).unwrap();
        let (held, wanted) = (Arc::clone(&tree), Arc::clone(&wants));
        let through = Through::new(held, upstreams, &fetcher, settings, wanted, told, until).unwrap();
        Self { directory, tree, through, refusals, metrics, tasks, stop, wants }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    async fn narinfo(&self, path: &StorePath) -> Answer {
        self.through.narinfo(&path.hash_part()).await
    }

    /// The narinfo, which must be there.
    async fn found(&self, path: &StorePath) -> Arc<NarInfo> {
        match self.narinfo(path).await {
            Answer::Found(info) => info,
            other => panic!("{path}: {other:?}"),
        }
    }

    /// A look at the flight of the NAR file that this narinfo names.
    fn open(&self, info: &NarInfo) -> Reader {
        let file = info.url.strip_prefix("nar/").unwrap();
        let known = self.through.find_nar(file).unwrap_or_else(|| panic!("{file} is not known"));
        self.through.open(file, known).unwrap()
    }

    /// What a client gets that asks for all of a NAR file.
    async fn get(&self, info: &NarInfo) -> Got {
        read(self.open(info), None).await
    }

    /// What stands as refused, newest first: which artifact, why, and from where.
    fn refused(&self) -> Vec<(String, RefusalReason, String)> {
        let standing = self.refusals.newest(usize::MAX).0.into_iter();
        standing.map(|refusal| (refusal.store_path, refusal.reason, refusal.source)).collect()
    }

    /// Waits for everything that goes on after the clients were answered.
    async fn settled(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        self.tasks.reopen();
        // Each refusal has a record, for which nobody waits.
        for (path, ..) in self.refused() {
            let hash =
                StorePath::parse(&path).map_or_else(|_| path.parse().unwrap(), |path| path.hash_part());
            while self.tree.quarantined(&hash).is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// What a client got.
#[derive(Debug, PartialEq, Eq)]
enum Got {
    Whole(Vec<u8>),
    /// The connection broke; how many bytes came before.
    Cut(usize),
    Missing,
    Failed,
}

async fn read(mut reader: Reader, part: Option<std::ops::Range<u64>>) -> Got {
    match reader.begin().await {
        Begun::File { .. } => {}
        Begun::Missing => return Got::Missing,
        Begun::Failed => return Got::Failed,
    }
    let mut body = Box::pin(reader.body(part));
    let mut bytes = Vec::new();
    loop {
        match body.try_next().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Got::Whole(bytes),
            Err(_) => return Got::Cut(bytes.len()),
        }
    }
}
