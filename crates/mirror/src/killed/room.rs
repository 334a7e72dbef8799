//! A process that pulls more through than it has room for, so that guests leave again and again.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use granary_nix::{HashPart, NarInfo, PublicKeys, StorePath};
use tokio::runtime::Handle;

use super::End;
use super::Work;
use super::child::{Child, Orders, say, say_goodbye};
use super::site::{KEPT, Site};
use crate::common::{Cache, Upstream};
use crate::tree::Layout;
use crate::tree::crashes::Numbers;
use crate::verify::{Kind, TreeCheck};

/// What guests may have: some of them, and not all.
const MAX: u64 = 14_000;

/// What a client asks for, and the upstream that has it.
struct Crowded {
    seed: u64,
    cache: Cache,
    upstream: Upstream,
}

/// Some need another one, which stays as long as they do.
fn cache(seed: u64) -> Cache {
    let (mut cache, mut numbers) = (Cache::new("test-1"), Numbers(seed, 0));
    let mut paths: Vec<StorePath> = Vec::new();
    for number in 0..8 {
        let last = paths.last().filter(|_| numbers.below(3) == 0).into_iter().collect::<Vec<_>>();
        let path = cache.add(&format!("room-{seed}-{number}"), &last);
        paths.push(path);
    }
    cache
}

impl Work for Crowded {
    fn of(seed: u64) -> Self {
        let cache = cache(seed);
        let upstream = Handle::current().block_on(Upstream::of(&cache));
        Self { seed, cache, upstream }
    }

    fn run(&self, directory: &Path, step: usize, _: &mut HashSet<HashPart>) -> End {
        let mut child = Child::start("room::child", directory, (self.seed, step), self.upstream.url());
        // What is kept may leave again at once.
        let mut kept = HashSet::new();
        while let Some((KEPT, hash)) = child.hear(&[KEPT, "done"]) {
            kept.insert(hash);
        }
        let end = child.end();
        assert!(end == End::Killed || kept.len() > 2, "{} were kept", kept.len());
        end
    }

    fn keys(&self) -> PublicKeys {
        self.cache.keys()
    }

    fn check(&self, directory: &Path, _: &HashSet<HashPart>, when: &str) {
        let layout = Layout::new(directory);
        let all = self.cache.artifacts.iter().map(|artifact| artifact.info.store_path.hash_part());
        let published = all.filter_map(|hash| NarInfo::parse(&fs::read(layout.narinfo(&hash)).ok()?).ok());
        let bytes: u64 = published.filter_map(|info| info.file_size).sum();
        assert!(bytes <= MAX, "{when}: {bytes}");
    }

    fn check_done(&self, directory: &Path, check: &TreeCheck, when: &str) {
        assert_eq!(check.catalog, self.cache.artifacts.len() as u64, "{when}: all are answered for");
        assert!((2..=4).contains(&check.artifacts), "{when}: {}", check.artifacts);
        // Whose narinfo did not come any more waits for the next who asks.
        assert!(check.notes.len() <= 2 && check.notes.iter().all(|note| note.kind == Kind::Orphan), "{when}");
        let layout = Layout::new(directory);
        for trash in [layout.trash(), layout.trash_nars()] {
            let left = fs::read_dir(trash).unwrap().map(|entry| entry.unwrap().path());
            let left: Vec<_> = left.filter(|path| path.is_file()).collect();
            assert!(left.is_empty(), "{when}: who left takes no room: {left:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_killed_before_every_step_while_guests_leave_keep_valid_caches_within_their_room() {
    tokio::task::spawn_blocking(super::kill::<Crowded>).await.unwrap();
}

/// Not a test by itself: what is killed.
#[tokio::test]
#[ignore = "run by a test of its own, which tells it where it ends"]
async fn child() {
    let Some(Orders { seed, directory, upstream }) = Orders::given() else { return };
    let cache = cache(seed);
    let site = Site::new(&directory, &upstream, &cache, MAX);
    // Who comes after a process that was killed does not ask for everything again.
    let again = site.knows_all(&cache);
    for artifact in cache.artifacts.iter().skip(if again { cache.artifacts.len() / 2 } else { 0 }) {
        site.get(&cache, &artifact.info.store_path).await;
    }
    say("done", "");
    say_goodbye();
}
