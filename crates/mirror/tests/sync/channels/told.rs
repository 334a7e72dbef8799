//! What is told of a round.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use granary_mirror::channels::{RoundOutcome, Watcher};
use granary_mirror::compact::HashParts;
use granary_mirror::sync::{Demand, Job, Observer, Roots, Syncer};
use granary_mirror::wants::Wants;
use granary_nix::StorePath;
use granary_placement::report::{Refusal, RefusalReason};
use tokio::sync::Notify;

use super::super::common::{Cache, Reply, fetcher};
use super::Site;

/// Collects what it is told.
#[derive(Default)]
pub(super) struct Told {
    refused: Mutex<Vec<(String, bool)>>,
    pub(super) ended: Notify,
}

impl Observer for Told {
    fn refused(&self, refusal: &Refusal, again: bool) {
        self.refused.lock().unwrap().push((refusal.store_path.clone(), again));
    }
}

impl Watcher for Told {
    fn ended(&self, _: &RoundOutcome) {
        self.ended.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_counted_and_recorded_until_it_stands_no_longer() {
    let mut cache = Cache::new("test-1");
    let (good, bad) = (cache.add("good", &[]), cache.add("bad", &[]));
    let user = cache.add("user", &[&bad]);
    let mut site = Site::new(cache, 1).await;
    let url = site.cache.get(&bad).info.url.clone();
    let genuine = site.upstream.bytes(&url);
    let mut flipped = genuine.clone();
    flipped[400] ^= 1;
    site.upstream.set(&url, Reply::Bytes(flipped));
    site.list("1", &[&good, &user]);
    let (channels, tree) = (site.channels.as_ref().unwrap(), site.tree.as_ref().unwrap());
    let policies = Syncer::new(Arc::clone(tree), fetcher()).with_guests().telling(Arc::clone(&site.wants));
    let nothing = Job { elsewhere: Some(Roots::default()), others: true, ..Job::default() };
    let pass = async || policies.pass(&nothing, &()).await;
    let recorded = |path: &StorePath| tree.quarantined(&path.hash_part()).map(|it| it.refusal.reason);
    let told = Told::default();
    let outcome = channels.round(&told).await;
    let refused = |paths: &[&StorePath]| paths.iter().map(|path| path.hash_part()).collect::<HashSet<_>>();
    assert_eq!((outcome.published, outcome.cut), (1, false));
    assert_eq!(outcome.refused, refused(&[&bad, &user]), "what is not listed and needed, too");
    let mut seen = std::mem::take(&mut *told.refused.lock().unwrap());
    seen.sort();
    let mut expected = [(bad.to_string(), false), (user.to_string(), false)];
    expected.sort();
    assert_eq!(seen, expected);
    for _ in 0..2 {
        let demand = pass().await.demand;
        assert_eq!(demand, Demand::Known(HashParts::default()), "no policy, and no doubt");
        assert_eq!(recorded(&bad), Some(RefusalReason::FileHash), "it is no policy's, and stays");
        assert_eq!(recorded(&user), Some(RefusalReason::MissingReference));
    }
    channels.round(&told).await;
    assert!(told.refused.lock().unwrap().iter().all(|(_, again)| *again));

    // Another process does not know yet what was refused, and tidies nothing away.
    let wants = Arc::<Wants>::default();
    let other = Syncer::new(Arc::clone(tree), fetcher()).with_guests().telling(Arc::clone(&wants));
    other.pass(&nothing, &()).await;
    assert!(recorded(&bad).is_some());

    site.upstream.set(&url, Reply::Bytes(genuine));
    // The third attempt has to wait; the newest list does without it.
    site.list("2", &[&good]);
    assert!(channels.round(&()).await.refused.is_empty());
    pass().await;
    assert_eq!((recorded(&bad), recorded(&user)), (None, None));
}
