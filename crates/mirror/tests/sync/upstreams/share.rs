//! How much an upstream is asked at once, and how fast bytes are taken.

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_fetch::{Access, Fetcher, Limits, Source};
use granary_mirror::sync::Syncer;
use granary_mirror::tree::Tree;
use granary_nix::{CacheInfo, StorePath};

use crate::common::{Cache, Upstream, job, source};

/// A syncer with these limits.
fn syncer(directory: &tempfile::TempDir, limits: Limits) -> Syncer {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
    Syncer::new(Arc::new(tree), Fetcher::new(limits).unwrap())
}

#[tokio::test]
async fn an_upstream_has_no_more_requests_at_once_than_it_may() {
    let mut cache = Cache::new("test-1");
    let paths: Vec<StorePath> = (0..12).map(|number| cache.add(&format!("p{number}"), &[])).collect();
    let paths: Vec<&StorePath> = paths.iter().collect();
    // Long enough for others to come meanwhile, where they may.
    for (connections, expected, think) in [(Some(2), 2, 100), (Some(1), 1, 10), (None, 12, 500)] {
        let upstream = Upstream::of(&cache).await;
        upstream.think(Duration::from_millis(think));
        let directory = tempfile::tempdir().unwrap();
        let syncer = syncer(&directory, Limits::default());
        let access = Access { connections, ..Access::default() };
        let source = Source { access, ..source(&upstream, &cache.keys(), 40) };
        assert!(syncer.pass(&job(vec![source], &paths), &()).await.is_synced());
        match connections {
            Some(_) => assert_eq!(upstream.at_once(), expected),
            None => assert!(upstream.at_once() > 2, "else the test shows nothing"),
        }
    }
}

#[tokio::test]
async fn no_more_nar_files_are_had_at_once_than_limits_connections() {
    let mut cache = Cache::new("test-1");
    let paths: Vec<StorePath> = (0..20).map(|number| cache.add(&format!("p{number}"), &[])).collect();
    let paths: Vec<&StorePath> = paths.iter().collect();
    let upstream = Upstream::of(&cache).await;
    // Long enough for others to come meanwhile, where they may.
    upstream.think(Duration::from_millis(100));
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(&directory, Limits { connections: 3, ..Limits::default() });
    let outcome = syncer.pass(&job(vec![source(&upstream, &cache.keys(), 40)], &paths), &()).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    let at_once = upstream.nars_at_once();
    assert!((2..=3).contains(&at_once), "{at_once} at once");
}

/// How long a pass over one NAR of 150,000 bytes takes.
async fn time(limits: Limits, access: Access) -> Duration {
    let mut cache = Cache::new("test-1");
    let path = cache.add_sized("a", &[], 150_000);
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    let syncer = syncer(&directory, limits);
    let source = Source { access, ..source(&upstream, &cache.keys(), 40) };
    let start = Instant::now();
    assert!(syncer.pass(&job(vec![source], &[&path]), &()).await.is_synced());
    start.elapsed()
}

#[tokio::test]
async fn bytes_are_taken_no_faster_than_they_may() {
    // No machine is too slow for these: what is asked is that it takes at least so long.
    let (rate, least) = (Some(100_000), Duration::from_millis(1300));
    let limited = time(Limits { bandwidth: rate, ..Limits::default() }, Access::default()).await;
    assert!(limited >= least, "limits.bandwidth: {limited:?}");
    let limited = time(Limits::default(), Access { bandwidth: rate, ..Access::default() }).await;
    assert!(limited >= least, "upstreams[].bandwidth: {limited:?}");
}
