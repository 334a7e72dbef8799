//! Rot on the disk, found by the scrub, set aside, and repaired by the next pass.

mod disk;
mod names;
mod narinfos;
mod pace;
mod repairs;
mod suspects;
mod trash;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use granary_mirror::scrub::pace::Rules;
use granary_mirror::scrub::{Scrubber, Standing, Suspect, Watcher};
use granary_mirror::sync::{Job, Syncer};
use granary_mirror::tree::Tree;
use granary_nix::{StorePath, Trust};
use tokio_util::sync::CancellationToken;

use super::clean;
use super::common::{Cache, Upstream, job, mirror, source};

/// Fast enough for a test: the whole tree in no time, again and again.
const FAST: Rules = Rules { period: Duration::from_millis(10), bandwidth: 1 << 30 };

#[derive(Default)]
struct Seen {
    rotten: Mutex<Vec<(&'static str, bool)>>,
    /// How many artifacts were read.
    reads: AtomicU32,
    standing: Mutex<Option<Standing>>,
    stop: CancellationToken,
    /// How often everything is to be read.
    rounds: Mutex<u32>,
}

impl Watcher for Seen {
    fn standing(&self, standing: &Standing) {
        let mut last = self.standing.lock().unwrap();
        let ended = last.as_ref().is_some_and(|last| last.round.ended != standing.round.ended);
        let mut rounds = self.rounds.lock().unwrap();
        *rounds = rounds.saturating_sub(u32::from(ended));
        if *rounds == 0 {
            self.stop.cancel();
        }
        *last = Some(standing.clone());
    }

    fn read(&self, _bytes: u64) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn rotten(&self, kind: &'static str, missing: bool) {
        self.rotten.lock().unwrap().push((kind, missing));
    }
}

/// Reads everything in a tree at least once, and says what was rotten.
pub(super) async fn scrub(tree: &Arc<Tree>, trust: impl Into<Trust>) -> Vec<(&'static str, bool)> {
    let seen = Seen { rounds: Mutex::new(2), ..Seen::default() };
    Scrubber::open(Arc::clone(tree), trust, FAST).run(&seen, seen.stop.clone()).await;
    seen.rotten.into_inner().unwrap()
}

/// Looks at this suspect, which must be rotten, and at nothing else; what was found.
pub(super) async fn look_at(
    tree: &Arc<Tree>,
    trust: impl Into<Trust>,
    suspect: Suspect,
) -> Vec<(&'static str, bool)> {
    let seen = Seen { rounds: Mutex::new(9), ..Seen::default() };
    let (name, suspects) = tokio::sync::mpsc::channel(1);
    name.send(suspect).await.unwrap();
    let slow = Rules { period: Duration::from_hours(24), bandwidth: 1 << 30 };
    let scrubber = Scrubber::open(Arc::clone(tree), trust, slow).with_suspects(suspects);
    let found = async {
        while seen.rotten.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen.stop.cancel();
    };
    let found = tokio::time::timeout(Duration::from_mins(1), found);
    let (found, ()) = tokio::join!(found, scrubber.run_suspects(&seen, seen.stop.clone()));
    found.unwrap();
    seen.rotten.into_inner().unwrap()
}

/// What rot does: one bit of the file is another, and nothing else.
pub(super) fn flip(path: &Path, byte: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[byte] ^= 1;
    fs::write(path, bytes).unwrap();
}

struct Site {
    cache: Cache,
    upstream: Upstream,
    directory: tempfile::TempDir,
    tree: Arc<Tree>,
    syncer: Syncer,
    job: Job,
    library: StorePath,
    app: StorePath,
}

impl Site {
    /// A library, and an application that needs it.
    async fn new() -> Self {
        let mut cache = Cache::new("test-1");
        let library = cache.add_sized("library", &[], 100_000);
        let app = cache.add("app", &[&library]);
        let upstream = Upstream::of(&cache).await;
        let directory = tempfile::tempdir().unwrap();
        let (tree, syncer) = mirror(directory.path());
        let job = job(vec![source(&upstream, &cache.keys(), 40)], &[&app]);
        assert!(syncer.pass(&job, &()).await.is_synced());
        Self { cache, upstream, directory, tree, syncer, job, library, app }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn nar(&mut self, path: &StorePath) -> PathBuf {
        let url = self.cache.get(path).info.url.clone();
        self.path().join(url)
    }

    fn narinfo(&self, path: &StorePath) -> PathBuf {
        self.path().join(path.hash_part().narinfo_name())
    }

    fn in_catalog(&self, path: &StorePath) -> PathBuf {
        self.path().join(".granary/catalog").join(path.hash_part().narinfo_name())
    }

    /// Reads everything at least once, and says what was rotten.
    async fn scrub(&self) -> Vec<(&'static str, bool)> {
        scrub(&self.tree, &self.cache.keys()).await
    }

    async fn repaired(&self) {
        assert!(self.syncer.pass(&self.job, &()).await.is_synced());
        assert_eq!(clean(self.path(), &self.cache.keys()).artifacts, 2);
        assert_eq!(self.scrub().await, [], "nothing is rotten any more");
    }
}
