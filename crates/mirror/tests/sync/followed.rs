//! Channels that policies of the mirror map name: what they list are roots.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use granary_mirror::channels::{Followed, Taken};
use granary_mirror::sync::{Assigned, Demand, Job, PassOutcome, PolicyJob, Roots, Syncer};
use granary_mirror::tree::Tree;
use granary_nix::{CacheInfo, StorePath};
use granary_placement::Channel;
use jiff::Timestamp;

use super::clean;
use super::common::cache::xz;
use super::common::{Cache, Reply, Upstream, fetcher, source, web_client};

const LIST: &str = "stable/store-paths.xz";
/// How often the list is asked for.
const EVERY: Duration = Duration::from_mins(10);

struct Site {
    directory: tempfile::TempDir,
    cache: Cache,
    upstream: Upstream,
    tree: Arc<Tree>,
    syncer: Syncer,
    followed: Followed,
    channel: Channel,
}

impl Site {
    async fn new(cache: Cache, keep: u16) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let upstream = Upstream::of(&cache).await;
        let directory = tempfile::tempdir().unwrap();
        let tree = Arc::new(Tree::open(directory.path(), &CacheInfo::default()).unwrap());
        let client = web_client();
        let channel = Channel { url: format!("{}/stable", upstream.url()), keep };
        let followed = Followed::new(Arc::clone(&tree), client);
        followed.adopt([&channel].into_iter());
        let syncer = Syncer::new(Arc::clone(&tree), fetcher());
        Self { directory, cache, upstream, tree, syncer, followed, channel }
    }

    fn list(&self, paths: &[&StorePath]) {
        let mut text = String::new();
        for path in paths {
            writeln!(text, "{path}").unwrap();
        }
        self.upstream.set(LIST, Reply::Bytes(xz(text.as_bytes())));
    }

    async fn pass(&self) -> PassOutcome {
        let (roots, taken) = self.followed.take(std::slice::from_ref(&self.channel));
        let policy = PolicyJob { name: "p".into(), roots, assigned: Assigned::All };
        let job = Job {
            policies: vec![policy],
            sources: vec![source(&self.upstream, &self.cache.keys(), 40)],
            elsewhere: Some(Roots::default()),
            ..Job::default()
        };
        let outcome = self.syncer.pass(&job, &()).await;
        self.followed.count(&outcome.refused);
        let complete = if outcome.is_synced() { taken } else { Taken::new() };
        self.followed.completed(&complete, Timestamp::now());
        outcome
    }

    async fn look(&self) -> bool {
        self.followed.look(Duration::ZERO).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn before_its_first_list_a_policy_is_not_synced_and_nothing_is_unwanted() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let app = cache.add("app", &[&base]);
    let site = Site::new(cache, 1).await;
    for expected in ["was not looked at yet", "404"] {
        let outcome = site.pass().await;
        let said = outcome.policies[0].catalog_error.clone().unwrap();
        assert!(said.contains(expected) && said.contains(&site.channel.url), "{said}");
        assert!(!outcome.is_synced() && outcome.policies[0].catalog.is_none());
        assert_eq!(outcome.demand, Demand::Unknown(said));
        assert!(!site.look().await, "there is no list");
    }
    site.list(&[&app]);
    assert!(site.look().await && !site.look().await, "it is news once");
    let outcome = site.pass().await;
    assert!(outcome.is_synced(), "{outcome:?}");
    assert_eq!(outcome.policies[0].catalog.as_ref().unwrap().artifacts, 2);
    let report = site.followed.reports(Timestamp::now(), EVERY).remove(0);
    assert_eq!((report.name.as_str(), report.artifacts, report.published), ("stable", 1, 1));
    assert!(report.complete.is_some() && report.lag_seconds == 0, "{report:?}");
    clean(site.directory.path(), &site.cache.keys());

    // The channel is away: what it listed stays wanted, also for another process.
    site.upstream.set(LIST, Reply::Status(503));
    site.look().await;
    assert!(site.pass().await.is_synced());
    let again = Followed::new(Arc::clone(&site.tree), web_client());
    again.adopt([&site.channel].into_iter());
    assert_eq!(again.take(std::slice::from_ref(&site.channel)).0.listed, [app]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_and_nobody_has_is_refused_and_leaves_no_doubt() {
    let mut cache = Cache::new("test-1");
    let (good, bad) = (cache.add("good", &[]), cache.add("bad", &[]));
    let site = Site::new(cache, 1).await;
    let narinfo = bad.hash_part().narinfo_name();
    site.upstream.set(&narinfo, Reply::Status(500));
    site.list(&[&good, &bad]);
    site.look().await;
    let outcome = site.pass().await;
    assert!(!outcome.is_synced() && matches!(outcome.demand, Demand::Unknown(_)), "it may come yet");
    assert!(site.followed.reports(Timestamp::now(), EVERY)[0].complete.is_none());
    site.upstream.set(&narinfo, Reply::Status(404));
    let outcome = site.pass().await;
    assert!(outcome.is_synced(), "{outcome:?}");
    let report = &outcome.policies[0];
    assert_eq!((report.verified, report.refused, &report.catalog_error), (1, 1, &None));
    assert_eq!(outcome.demand, Demand::Known([good.hash_part()].into()));
    let channel = site.followed.reports(Timestamp::now(), EVERY).remove(0);
    assert_eq!((channel.published, channel.refused), (1, 1));
    assert!(channel.complete.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_revision_is_wanted_until_enough_newer_ones_are_complete() {
    let mut cache = Cache::new("test-1");
    let paths: Vec<StorePath> = (0..3).map(|number| cache.add(&format!("p{number}"), &[])).collect();
    let site = Site::new(cache, 2).await;
    for path in &paths[..2] {
        site.list(&[path]);
        site.look().await;
        assert!(site.pass().await.is_synced());
    }
    let listed = |keep: u16| {
        let channel = Channel { keep, ..site.channel.clone() };
        let mut listed = site.followed.take(&[channel]).0.listed;
        listed.sort_unstable();
        listed
    };
    let sorted = |paths: &[StorePath]| {
        let mut sorted = paths.to_vec();
        sorted.sort_unstable();
        sorted
    };
    assert_eq!(listed(2), sorted(&paths[..2]));
    assert_eq!(listed(1), sorted(&paths[1..2]), "another policy keeps fewer");
    site.upstream.set(&paths[2].hash_part().narinfo_name(), Reply::Status(500));
    site.list(&[&paths[2]]);
    site.look().await;
    site.pass().await;
    assert_eq!(listed(2), sorted(&paths), "the third is not here yet");
    site.cache.serve(&site.upstream);
    assert!(site.pass().await.is_synced());
    assert_eq!(listed(2), sorted(&paths[1..]));
}
