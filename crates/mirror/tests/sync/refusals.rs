//! How long a refusal stands.

use std::sync::Arc;
use std::time::Duration;

use granary_fetch::{Fetcher, Limits};
use granary_mirror::metrics::Metrics;
use granary_mirror::refusals::{Origin, Refusals};
use granary_mirror::sync::Syncer;
use granary_mirror::tree::Tree;
use granary_nix::{CacheInfo, StorePath};
use granary_placement::report::{Refusal, RefusalReason};

use crate::common::{Cache, Upstream, job, source};

#[tokio::test]
async fn what_is_published_is_refused_no_longer_whoever_refused_it() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut cache = Cache::new("test-1");
    let ours = [(Origin::Pass, cache.add("one", &[])), (Origin::Channel, cache.add("two", &[]))];
    let asked = [
        (Origin::NarInfo, cache.add("three", &[])),
        (Origin::Nar, cache.add("four", &[])),
        (Origin::Push, cache.add("five", &[])),
    ];
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    let tree = Arc::new(Tree::open(directory.path(), &CacheInfo::default()).unwrap());
    let refusals = Arc::new(Refusals::new(Arc::clone(&tree), Arc::new(Metrics::new().unwrap())));
    let fetcher = Fetcher::new(Limits::default()).unwrap();
    let syncer = Syncer::new(Arc::clone(&tree), fetcher).beside(Arc::clone(&refusals));

    let refusal = |path: &StorePath| {
        let (reason, message, source) = (RefusalReason::NarHash, String::new(), String::new());
        Refusal { store_path: path.to_string(), reason, message, source }
    };
    for (origin, path) in &ours {
        refusals.met(*origin, &refusal(path), false);
    }
    for (origin, path) in &asked {
        refusals.refuse(*origin, path.hash_part(), refusal(path), Duration::ZERO);
        assert!(refusals.beside_passes().contains(&path.hash_part()));
        // Nobody waits for the record.
        while tree.quarantined(&path.hash_part()).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // A pass that wants none of it leaves all of it.
    let sources = || vec![source(&upstream, &cache.keys(), 40)];
    syncer.pass(&job(sources(), &[]), &()).await;
    assert_eq!(refusals.newest(9).1, 5);
    assert!(asked.iter().all(|(_, path)| tree.quarantined(&path.hash_part()).is_some()));

    let all: Vec<&StorePath> = ours.iter().chain(&asked).map(|(_, path)| path).collect();
    let outcome = syncer.pass(&job(sources(), &all), &()).await;
    assert!(outcome.is_synced() && outcome.published == 5, "{outcome:#?}");
    assert_eq!(refusals.newest(9), (vec![], 0));
    for path in all {
        let hash = path.hash_part();
        assert!(!refusals.beside_passes().contains(&hash) && tree.quarantined(&hash).is_none(), "{path}");
    }
}
