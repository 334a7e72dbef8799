//! The files beside artifacts: had with their artifact, asked for on a miss, made from the NAR, and taken away with it.

pub mod artifacts;
mod hostile;
mod mirrored;
mod misses;
mod rotten;
mod verified;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::to_bytes;
use granary_fetch::Source;
use granary_mirror::agent::extras::Extras as Answers;
use granary_mirror::config::{Extras, Listings};
use granary_mirror::extras::Keeper;
use granary_mirror::metrics::Metrics;
use granary_mirror::tree::Tree;
use granary_nix::{Extra, NarInfo, StorePath};
use http::{HeaderMap, StatusCode};

use super::common::{Cache, Small, Upstream, fetcher, job, mirror, source};

/// Everything, and listings only from the upstream.
const MIRROR: Extras = Extras { listings: Listings::Mirror, logs: true, debuginfo: true, realisations: true };
/// Everything, and listings made where there are none.
const MAKE: Extras = Extras { listings: Listings::Make, ..MIRROR };

/// A mirror that has pulled everything of a cache, and has nothing beside it yet.
struct Scene {
    /// What is mounted where the tree is, if anything.
    _disk: Option<Small>,
    cache: Cache,
    upstream: Upstream,
    directory: tempfile::TempDir,
    tree: Arc<Tree>,
    keeper: Arc<Keeper>,
    answers: Arc<Answers>,
    _map: tokio::sync::watch::Sender<Option<Arc<granary_placement::CompiledMap>>>,
}

impl Scene {
    async fn new(wants: Extras, cache: Cache) -> Self {
        let upstream = Upstream::of(&cache).await;
        let sources = vec![source(&upstream, &cache.keys(), 40)];
        Self::of(wants, cache, upstream, sources).await
    }

    async fn of(wants: Extras, cache: Cache, upstream: Upstream, sources: Vec<Source>) -> Self {
        Self::on(tempfile::tempdir().unwrap(), None, wants, (cache, upstream, sources)).await
    }

    async fn on(
        directory: tempfile::TempDir,
        disk: Option<Small>,
        wants: Extras,
        (cache, upstream, sources): (Cache, Upstream, Vec<Source>),
    ) -> Self {
        let (tree, syncer) = mirror(directory.path());
        let roots: Vec<&StorePath> =
            cache.artifacts.iter().map(|artifact| &artifact.info.store_path).collect();
        assert!(syncer.pass(&job(sources.clone(), &roots), &()).await.is_synced());
        let metrics = Metrics::new().unwrap().extras().clone();
        let keeper = Arc::new(Keeper::new(Arc::clone(&tree), fetcher(), wants, sources, metrics));
        let (keep, map) = tokio::sync::watch::channel(None);
        let answers = Answers::new(Arc::clone(&keeper), "a-0".parse().unwrap(), map);
        upstream.take_asked();
        Self { _disk: disk, cache, upstream, directory, tree, keeper, answers, _map: keep }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// The bytes of a file of the tree.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.file(name)).ok()
    }

    fn info(&self, path: &StorePath) -> NarInfo {
        let find = |artifact: &&super::common::cache::Artifact| artifact.info.store_path == *path;
        self.cache.artifacts.iter().find(find).unwrap().info.clone()
    }

    /// Asks as nginx does.
    async fn ask(&self, name: &str) -> (StatusCode, Vec<u8>) {
        self.ask_with(&HeaderMap::new(), name).await
    }

    async fn ask_with(&self, headers: &HeaderMap, name: &str) -> (StatusCode, Vec<u8>) {
        let answer = self.answers.answer(headers, name).await;
        let (parts, body) = answer.into_parts();
        let retry = parts.headers.contains_key("retry-after");
        assert_eq!(retry, parts.status == StatusCode::SERVICE_UNAVAILABLE, "{name}: {:?}", parts.headers);
        (parts.status, to_bytes(body, usize::MAX).await.unwrap().into())
    }

    /// What the upstream was asked for.
    fn asked(&self) -> Vec<String> {
        let mut asked: Vec<String> = self.upstream.take_asked().into_iter().map(|asked| asked.path).collect();
        asked.sort();
        asked
    }

    /// No half-written file is left.
    fn is_tidy(&self) -> bool {
        std::fs::read_dir(self.tree.layout().temp()).unwrap().count() == 0
    }
}

fn listing_name(path: &StorePath) -> String {
    Extra::Listing(path.hash_part()).file_name()
}
