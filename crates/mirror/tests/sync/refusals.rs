//! How long a refusal stands.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use granary_fetch::{Fetcher, Limits};
use granary_mirror::compact::HashParts;
use granary_mirror::metrics::Metrics;
use granary_mirror::refusals::{Origin, Refusals};
use granary_mirror::sync::{Observer, Syncer};
use granary_mirror::tree::Tree;
use granary_mirror::wants::Wants;
use granary_nix::{CacheInfo, StorePath};
use granary_placement::report::{Refusal, RefusalReason};

use crate::common::cache::store_path;
use crate::common::{Cache, Upstream, eventually, job, source};
use crate::mirrored::Mirrored;

fn refusal(path: &StorePath) -> Refusal {
    let (reason, message, source) = (RefusalReason::NarHash, String::new(), String::new());
    Refusal { store_path: path.to_string(), reason, message, source }
}

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

    for (origin, path) in &ours {
        refusals.met(*origin, &refusal(path), false);
    }
    for (origin, path) in &asked {
        refusals.refuse(*origin, path.hash_part(), refusal(path), Duration::ZERO);
        assert!(refusals.beside_passes().contains(&path.hash_part()));
        // Nobody waits for the record.
        eventually("there is a record", || tree.quarantined(&path.hash_part())).await;
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

/// A round over the channels that refuses one more artifact whenever the pass has something to do on the disk.
struct Round {
    tree: Arc<Tree>,
    wants: Arc<Wants>,
    refused: Mutex<Vec<StorePath>>,
}

impl Observer for Round {
    fn on_disk(&self, begins: bool) {
        if begins {
            let mut refused = self.refused.lock().unwrap();
            let path = store_path(&format!("of-a-channel-{}", refused.len()));
            self.wants.add_refused([path.hash_part()]);
            self.tree.put_in_quarantine([(&path.hash_part(), &refusal(&path))]).unwrap();
            refused.push(path);
        }
    }
}

#[tokio::test]
async fn what_a_channel_refuses_just_before_a_pass_tidies_up_keeps_its_record() {
    let wants = Arc::new(Wants::default());
    let mut site = Mirrored::of(Cache::new("test-1")).await;
    site.syncer = site.syncer.telling(Arc::clone(&wants));
    let gone = store_path("gone");
    let put = |path: &StorePath| site.tree.put_in_quarantine([(&path.hash_part(), &refusal(path))]).unwrap();
    let is_there = |path: &StorePath| site.tree.quarantined(&path.hash_part()).is_some();
    put(&gone);
    let (tree, refused) = (Arc::clone(&site.tree), Mutex::default());
    let round = Round { tree, wants: Arc::clone(&wants), refused };
    assert!(site.syncer.pass(&site.job(&[]), &round).await.is_synced());
    assert!(is_there(&gone), "what the channels refused is not known");
    wants.set_refused(Some(HashParts::default()));
    round.refused.lock().unwrap().clear();
    assert!(site.syncer.pass(&site.job(&[]), &round).await.is_synced());
    assert!(!is_there(&gone));
    let refused = round.refused.into_inner().unwrap();
    assert!(!refused.is_empty() && refused.iter().all(is_there), "{refused:?}");
}
