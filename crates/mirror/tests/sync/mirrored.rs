//! What many tests begin with: a cache, a server for it, and the tree of a mirror that takes from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use granary_fetch::Source;
use granary_mirror::sync::{Job, PassOutcome, Syncer};
use granary_mirror::tree::Tree;
use granary_mirror::verify::TreeCheck;
use granary_nix::StorePath;

use super::common::{Cache, Upstream, job, mirror, source};

/// A mirror with one upstream, whose key it trusts.
pub struct Mirrored {
    pub cache: Cache,
    pub upstream: Upstream,
    pub tree: Arc<Tree>,
    pub syncer: Syncer,
    directory: tempfile::TempDir,
}

impl Mirrored {
    /// The cache is served as it is; nothing of it is in the tree yet.
    pub async fn of(cache: Cache) -> Self {
        let upstream = Upstream::of(&cache).await;
        let directory = tempfile::tempdir().unwrap();
        let (tree, syncer) = mirror(directory.path());
        Self { cache, upstream, tree, syncer, directory }
    }

    /// The same with everything of these paths in the tree, at the end of a pass.
    pub async fn synced(cache: Cache, roots: &[&StorePath]) -> Self {
        let mirrored = Self::of(cache).await;
        assert!(mirrored.pass(roots).await.is_synced());
        mirrored
    }

    /// Where the tree is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where the NAR file of `path` is in the tree.
    pub fn nar_file(&mut self, path: &StorePath) -> PathBuf {
        let url = self.cache.get(path).info.url.clone();
        self.path().join(url)
    }

    /// The upstream, as the mirror asks it.
    pub fn source(&self) -> Source {
        source(&self.upstream, &self.cache.keys(), 40)
    }

    /// What a pass has to do for these paths.
    pub fn job(&self, roots: &[&StorePath]) -> Job {
        job(vec![self.source()], roots)
    }

    /// A pass.
    pub async fn pass(&self, roots: &[&StorePath]) -> PassOutcome {
        self.syncer.pass(&self.job(roots), &()).await
    }

    /// The check of the tree, which must have no fault.
    pub fn clean(&self) -> TreeCheck {
        super::clean(self.path(), &self.cache.keys())
    }

    /// Whether the narinfo of `path` can be seen in the tree.
    pub fn is_visible(&self, path: &StorePath) -> bool {
        super::is_visible(self.path(), path)
    }
}
