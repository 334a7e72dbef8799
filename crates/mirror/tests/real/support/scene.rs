//! What nearly every test begins with: artifacts in a cache that the real Nix made, an HTTP server for it, and mirrors of it.

use std::path::{Path, PathBuf};

use granary_placement::CompiledMap;
use reqwest::Client;

use super::{Artifact, Corpus, Mirror, Site, Upstream, client, config, folder, tools};

/// A cache behind HTTP, with a folder for the mirrors that are made of it.
pub struct Scene {
    pub corpus: Corpus,
    pub upstream: Upstream,
    pub client: Client,
    // The last to go: a mirror's log is in it.
    folder: tempfile::TempDir,
}

impl Scene {
    /// A cache of these, references before referrers. `None`, with a word about it, where nginx or Nix is missing.
    pub async fn of(artifacts: &[Artifact]) -> Option<Self> {
        Self::made(|base| Corpus::make(base, artifacts)).await
    }

    /// The same with a cache that is made otherwise, in the folder that `make` is given.
    pub async fn made(make: impl FnOnce(&Path) -> Corpus) -> Option<Self> {
        if !tools() {
            return None;
        }
        let (folder, client) = (folder(), client());
        let corpus = make(folder.path());
        let upstream = Upstream::serve(&corpus.cache).await;
        Some(Self { corpus, upstream, client, folder })
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A place for a mirror.
    pub fn site(&self, name: &str) -> Site {
        Site::new(self.path(), name)
    }

    /// Writes the configuration of a mirror of this cache; `more` is as for [`config`].
    pub fn write(&self, site: &Site, more: &str) -> PathBuf {
        config(site, &self.upstream.url, &self.corpus.key, more)
    }

    /// Starts a mirror with such a configuration.
    pub fn run(&self, more: &str) -> Mirror {
        self.run_at(self.site("lan"), more)
    }

    /// Starts it there.
    pub fn run_at(&self, site: Site, more: &str) -> Mirror {
        self.write(&site, more);
        Mirror::run(site)
    }

    /// Starts a mirror and waits until it has what it wants.
    pub async fn synced(&self, more: &str) -> Mirror {
        let mirror = self.run(more);
        mirror.synced().await;
        mirror
    }

    /// The file that [`Scene::put_map`] writes.
    pub fn map(&self) -> PathBuf {
        self.path().join("map.json")
    }

    /// Gives the mirrors this map from now on.
    pub fn put_map(&self, map: &CompiledMap) {
        let new = self.path().join("map.new");
        std::fs::write(&new, map.map().to_json()).unwrap();
        std::fs::rename(new, self.map()).unwrap();
    }

    /// The line of a configuration that makes a mirror follow the map.
    pub fn follow(&self) -> String {
        format!("map: {{file: '{}', pollSeconds: 1}}", self.map().display())
    }
}
