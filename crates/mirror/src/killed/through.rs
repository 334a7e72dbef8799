//! A process that pulls a closure through.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use granary_nix::{HashPart, PublicKeys, StorePath};
use tokio::runtime::Handle;

use super::child::{Child, Orders, say_goodbye};
use super::site::{KEPT, Site};
use super::{End, NEVER, Work, check_tree, complete};
use crate::common::{Cache, Reply, Upstream};
use crate::tree::Layout;
use crate::tree::crashes::{Numbers, directory, files};
use crate::verify::TreeCheck;

/// What a client asks for, and the upstream that has it.
struct Asking {
    seed: u64,
    cache: Cache,
    upstream: Upstream,
    /// What an undisturbed process makes of it.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

/// The seed whose cache has a large artifact, for a transfer that takes its time.
const LARGE: u64 = u64::MAX;

/// A closure: what comes later needs some of what comes earlier.
fn cache(seed: u64) -> Cache {
    let (mut cache, mut numbers) = (Cache::new("test-1"), Numbers(seed, 0));
    if seed == LARGE {
        cache.add_sized("large", &[], 2 << 20);
        return cache;
    }
    let mut paths: Vec<StorePath> = Vec::new();
    for number in 0..6 {
        let mut references: Vec<&StorePath> = paths.iter().collect();
        references.retain(|_| numbers.below(2) == 0);
        paths.push(cache.add(&format!("through-{seed}-{number}"), &references));
    }
    cache
}

impl Work for Asking {
    fn of(seed: u64) -> Self {
        let cache = cache(seed);
        let upstream = Handle::current().block_on(Upstream::of(&cache));
        let mut work = Self { seed, cache, upstream, files: BTreeMap::new() };
        let directory = directory();
        assert!(matches!(work.run(directory.path(), NEVER, &mut HashSet::new()), End::Done(_)));
        work.files = files(directory.path());
        work
    }

    fn run(&self, directory: &Path, step: usize, told: &mut HashSet<HashPart>) -> End {
        let order = (self.seed, step);
        let mut child = Child::start("through::child", directory, order, self.upstream.url());
        while let Some((KEPT, hash)) = child.hear(&[KEPT, "done"]) {
            told.insert(hash.parse().unwrap());
        }
        child.end()
    }

    fn keys(&self) -> PublicKeys {
        self.cache.keys()
    }

    fn check(&self, directory: &Path, told: &HashSet<HashPart>, when: &str) {
        for hash in told {
            assert!(Layout::new(directory).narinfo(hash).exists(), "{when}: {hash} was kept");
        }
    }

    fn check_done(&self, directory: &Path, check: &TreeCheck, when: &str) {
        assert_eq!(check.notes, [], "{when}: nothing lies about");
        let all = self.cache.artifacts.len() as u64;
        assert_eq!((check.artifacts, check.catalog), (all, all), "{when}");
        let found = files(directory);
        let names = found.keys().chain(self.files.keys());
        let other: Vec<_> = names.filter(|name| found.get(*name) != self.files.get(*name)).collect();
        assert!(other.is_empty(), "{when}: not as undisturbed: {other:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_killed_before_every_step_of_a_pull_through_leave_valid_caches() {
    tokio::task::spawn_blocking(super::kill::<Asking>).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_killed_while_a_file_is_passed_on_leave_valid_caches_and_the_part_that_came() {
    tokio::task::spawn_blocking(|| {
        let (work, directory) = (Asking::of(LARGE), directory());
        let artifact = &work.cache.artifacts[0];
        let part = Layout::new(directory.path()).partial().join(artifact.info.file_hash.unwrap().to_nix32());
        let length = || fs::metadata(&part).map_or(0, |part| part.len());
        // Each finds what came to the one before it, and gets so much more.
        for eighths in 1..8 {
            let after = artifact.file.len() * eighths / 8;
            let start = artifact.file[..after].to_vec();
            let here = usize::try_from(length()).unwrap();
            work.upstream
                .set(&artifact.info.url, Reply::Hang { bytes: artifact.file.clone(), after: after - here });
            let order = (LARGE, NEVER);
            let mut child = Child::start("through::child", directory.path(), order, work.upstream.url());
            while length() < after as u64 {
                std::thread::yield_now();
            }
            child.kill();
            assert_eq!(child.end(), End::Killed);
            let check = check_tree(&work, directory.path(), "killed while it comes").unwrap();
            assert_eq!((check.artifacts, check.notes), (0, Vec::new()));
            assert!(fs::read(&part).unwrap() == start);
        }
        work.cache.serve(&work.upstream);
        work.upstream.take_asked();
        complete(&work, directory.path(), &mut HashSet::new(), "completed");
        let ranges: Vec<_> = work.upstream.take_asked().into_iter().filter_map(|asked| asked.range).collect();
        assert_eq!(ranges, [format!("bytes={}-", artifact.file.len() * 7 / 8)]);
    })
    .await
    .unwrap();
}

/// Not a test by itself: what is killed.
#[tokio::test]
#[ignore = "run by a test of its own, which tells it where it ends"]
async fn child() {
    let Some(Orders { seed, directory, upstream }) = Orders::given() else { return };
    let cache = cache(seed);
    let site = Site::new(&directory, &upstream, &cache, 1 << 30);
    // First what needs the others, as Nix does.
    for artifact in cache.artifacts.iter().rev() {
        site.get(&cache, &artifact.info.store_path).await;
    }
    super::child::say("done", "");
    say_goodbye();
}
