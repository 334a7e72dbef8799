//! Channels: revisions that come, fail in parts, and follow one another.

mod every;
mod lists;
mod parts;
mod revisions;
mod told;
mod torn;

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_fetch::Source;
use granary_mirror::channels::Channels;
use granary_mirror::config::Channel;
use granary_mirror::sync::Syncer;
use granary_mirror::tree::{Tree, TreeError};
use granary_mirror::wants::Wants;
use granary_nix::{CacheInfo, StorePath};
use granary_placement::report::ChannelReport;
use jiff::Timestamp;

use super::common::{Cache, Reply, Upstream, fetcher, source, web_client};

const LIST: &str = "nixos-26.05/store-paths.xz";
/// How often the list is asked for.
const EVERY: Duration = Duration::from_mins(10);

struct Site {
    directory: tempfile::TempDir,
    cache: Cache,
    upstream: Upstream,
    tree: Option<Arc<Tree>>,
    wants: Arc<Wants>,
    channels: Option<Channels>,
    keep: usize,
    /// How often the list is asked for, if that is said.
    every: Option<Duration>,
    /// Another place to have artifacts from.
    source: Option<Source>,
}

impl Site {
    async fn new(cache: Cache, keep: usize) -> Self {
        let upstream = Upstream::of(&cache).await;
        let directory = tempfile::tempdir().unwrap();
        let (tree, wants, channels) = (None, Arc::default(), None);
        let (every, source) = (None, None);
        let mut site = Self { directory, cache, upstream, tree, wants, channels, keep, every, source };
        site.open();
        site
    }

    /// Another process on the same disk.
    fn open(&mut self) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        (self.channels, self.tree, self.wants) = (None, None, Arc::default());
        let tree = Arc::new(reopened(self.path()));
        let client = web_client();
        let syncer = Syncer::new(Arc::clone(&tree), fetcher());
        let url = format!("{}/nixos-26.05", self.upstream.url()).parse().unwrap();
        let folder = "nixos-26.05".to_owned();
        let channel = Channel { name: folder.clone(), folder, url, keep: self.keep, every: self.every };
        let sources = [self.source.clone().unwrap_or_else(|| source(&self.upstream, &self.cache.keys(), 40))];
        let (held, wants) = (Arc::clone(&tree), Arc::clone(&self.wants));
        self.channels = Some(Channels::open(&[channel], held, client, syncer, &sources, wants));
        self.tree = Some(tree);
        self.wants.set_policies(Some([].into()));
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The newest revision lists these.
    fn list(&self, release: &str, paths: &[&StorePath]) {
        let mut text = String::new();
        for path in paths {
            writeln!(text, "{path}").unwrap();
        }
        let at = format!("releases/{release}/store-paths.xz");
        self.upstream.set(LIST, Reply::Redirect(format!("/{at}")));
        self.upstream.set(&at, Reply::Bytes(super::common::cache::xz(text.as_bytes())));
    }

    async fn round(&self) -> ChannelReport {
        let channels = self.channels.as_ref().unwrap();
        channels.round(&()).await;
        channels.reports(Timestamp::now(), EVERY).remove(0)
    }

    fn holds(&self, path: &StorePath) -> bool {
        self.tree.as_ref().unwrap().holds(&path.hash_part())
    }

    fn wants(&self, path: &StorePath) -> bool {
        self.wants.now().unwrap().has(&path.hash_part())
    }

    fn lists(&self) -> usize {
        let files = std::fs::read_dir(self.path().join(".granary/channels/nixos-26.05")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|it| it == "paths")).count()
    }
}

/// The lock of the tree that was there before is free, but for a child of a test beside this one that has not yet become the
/// other program.
fn reopened(directory: &Path) -> Tree {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match Tree::open(directory, &CacheInfo::default()) {
            Err(TreeError::InUse { .. }) if Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened.unwrap(),
        }
    }
}
