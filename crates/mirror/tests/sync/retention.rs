//! What nobody wants any more, over real passes: when it goes, when it must not, and how it comes back.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use granary_mirror::retention::Retention;
use granary_mirror::retention::machine::Rules;
use granary_mirror::sync::{Assigned, Demand, Job, PartitionSet, PolicyJob, Roots, Syncer};
use granary_mirror::tree::Tree;
use granary_nix::StorePath;

use super::common::{Cache, Upstream, mirror, source};
use super::{clean, is_visible};

const DAY: Duration = Duration::from_hours(24);
const RULES: Rules = Rules { grace: Duration::from_hours(2 * 24), trash: Duration::from_hours(3 * 24) };

struct Site {
    cache: Cache,
    upstream: Upstream,
    directory: tempfile::TempDir,
    tree: Arc<Tree>,
    syncer: Syncer,
    retention: Retention,
    now: Duration,
}

impl Site {
    async fn new(cache: Cache) -> Self {
        let upstream = Upstream::of(&cache).await;
        let directory = tempfile::tempdir().unwrap();
        let (tree, syncer) = mirror(directory.path());
        let retention = Retention::open(Arc::clone(&tree));
        Self { cache, upstream, directory, tree, syncer, retention, now: Duration::ZERO }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn job(&self, policies: Vec<PolicyJob>, elsewhere: &[&StorePath]) -> Job {
        let elsewhere = elsewhere.iter().map(|root| (*root).clone()).collect();
        Job {
            policies,
            sources: vec![source(&self.upstream, &self.cache.keys(), 40)],
            elsewhere: Some(elsewhere),
            ..Job::default()
        }
    }

    /// A pass a day, and retention after each.
    async fn days(&mut self, days: u32, job: &Job) -> Demand {
        let mut demand = Demand::default();
        for _ in 0..days {
            self.now += DAY;
            demand = self.syncer.pass(job, &()).await.demand;
            self.retention.step(RULES, demand.known(), self.now);
        }
        demand
    }
}

fn policy(roots: &[&StorePath]) -> PolicyJob {
    PolicyJob {
        name: "p".into(),
        roots: roots.iter().map(|root| (*root).clone()).collect(),
        assigned: Assigned::All,
    }
}

/// A library that two applications need, and these.
fn cache() -> (Cache, [StorePath; 3]) {
    let mut cache = Cache::new("test-1");
    let library = cache.add("library", &[]);
    let (old, new) = (cache.add("old", &[&library]), cache.add("new", &[&library]));
    (cache, [library, old, new])
}

#[tokio::test]
async fn it_goes_when_its_periods_are_over_and_comes_back_without_a_download() {
    let (cache, [library, old, new]) = cache();
    let mut site = Site::new(cache).await;
    let both = site.job(vec![policy(&[&old, &new])], &[]);
    site.days(10, &both).await;
    assert_eq!(site.tree.totals().artifacts, 3);
    let only_new = site.job(vec![policy(&[&new])], &[]);
    site.days(2, &only_new).await;
    assert!(is_visible(site.path(), &old));
    site.days(1, &only_new).await;
    assert!(!is_visible(site.path(), &old) && is_visible(site.path(), &library));
    let nar = site.cache.get(&old).info.url.clone();
    assert!(site.path().join(".granary/trash").join(&nar).exists() && !site.path().join(&nar).exists());
    clean(site.path(), &site.cache.keys());

    site.upstream.take_asked();
    site.days(1, &both).await;
    assert!(is_visible(site.path(), &old) && site.path().join(&nar).exists());
    assert!(site.upstream.take_asked().iter().all(|asked| !asked.path.starts_with("nar/")));
    clean(site.path(), &site.cache.keys());

    site.days(3, &only_new).await;
    assert!(!is_visible(site.path(), &old));
    site.days(4, &only_new).await;
    assert!(!site.path().join(".granary/trash").join(&nar).exists(), "gone");
    assert!(site.tree.find_nar(nar.strip_prefix("nar/").unwrap()).is_some(), "but known by name for a month");
    site.days(30, &only_new).await;
    assert_eq!(site.tree.find_nar(nar.strip_prefix("nar/").unwrap()), None);
    site.days(1, &both).await;
    assert!(site.upstream.take_asked().iter().any(|asked| asked.path == nar), "now it is fetched");
    clean(site.path(), &site.cache.keys());
}

#[tokio::test]
async fn bytes_that_rotted_in_the_trash_are_fetched_instead() {
    let (cache, [_, old, new]) = cache();
    let mut site = Site::new(cache).await;
    let both = site.job(vec![policy(&[&old, &new])], &[]);
    let only_new = site.job(vec![policy(&[&new])], &[]);
    site.days(1, &both).await;
    site.days(3, &only_new).await;
    let nar = site.cache.get(&old).info.url.clone();
    let trashed = site.path().join(".granary/trash").join(&nar);
    let mut bytes = fs::read(&trashed).unwrap();
    bytes[400] ^= 1;
    fs::write(&trashed, bytes).unwrap();
    site.upstream.take_asked();
    site.days(1, &both).await;
    assert!(site.upstream.take_asked().iter().any(|asked| asked.path == nar));
    assert!(is_visible(site.path(), &old) && !trashed.exists());
    clean(site.path(), &site.cache.keys());
}

#[tokio::test]
async fn what_is_not_completely_known_lets_nothing_go() {
    let (cache, [_, old, new]) = cache();
    let mut site = Site::new(cache).await;
    let both = site.job(vec![policy(&[&old, &new])], &[]);
    site.days(1, &both).await;
    let absent = super::common::cache::store_path("absent");
    let empty = PolicyJob { name: "empty".into(), roots: Roots::default(), assigned: Assigned::All };
    // What is asked, and why nothing follows from it.
    let unclear = [
        (site.job(vec![], &[]), "no policy"),
        (site.job(vec![policy(&[&new]), empty], &[]), "names no store paths"),
        (site.job(vec![policy(&[&new, &absent])], &[]), "cannot be resolved"),
        (site.job(vec![policy(&[&new])], &[&absent]), "cannot be resolved"),
        (Job { elsewhere: None, ..site.job(vec![policy(&[&new])], &[]) }, "nobody asks"),
    ];
    for (job, reason) in &unclear {
        let demand = site.days(100, job).await;
        assert!(matches!(&demand, Demand::Unknown(why) if why.contains(reason)), "{reason}: {demand:?}");
        assert!(is_visible(site.path(), &old), "{reason}");
    }
    // One unclear day begins the count anew only as far as that day goes, and never shortens it.
    let only_new = site.job(vec![policy(&[&new])], &[]);
    site.days(2, &only_new).await;
    site.days(1, &unclear[0].0).await;
    site.days(1, &only_new).await;
    assert!(is_visible(site.path(), &old));
    site.days(1, &only_new).await;
    assert!(!is_visible(site.path(), &old));
}

#[tokio::test]
async fn what_any_policy_wants_anywhere_stays() {
    let (mut cache, [library, old, new]) = cache();
    let deep = cache.add("deep", &[&old]);
    let mut site = Site::new(cache).await;
    let all = site.job(vec![policy(&[&deep, &new])], &[]);
    site.days(1, &all).await;
    assert_eq!(site.tree.totals().artifacts, 4);
    // The placement gives all of it to others.
    let nothing = Assigned::Partitions(Arc::new(PartitionSet::from_fn(|_| false)));
    let moved = PolicyJob { assigned: nothing, ..policy(&[&deep, &new]) };
    let moved = site.job(vec![moved], &[]);
    assert!(matches!(site.days(100, &moved).await, Demand::Known(all) if all.len() == 4));
    assert_eq!(site.tree.totals().artifacts, 4);
    // The policy selects other mirrors now.
    let elsewhere = site.job(vec![policy(&[&new])], &[&deep]);
    site.upstream.take_asked();
    assert!(matches!(site.days(100, &elsewhere).await, Demand::Known(all) if all.len() == 4));
    assert_eq!(site.tree.totals().artifacts, 4);
    assert!(site.upstream.take_asked().len() <= 3, "what is known is not asked for in every pass");
    // Nobody wants it any more: referrers go with what they refer to, all at once.
    let only_new = site.job(vec![policy(&[&new])], &[]);
    site.days(3, &only_new).await;
    let left = [&library, &new, &old, &deep].map(|path| is_visible(site.path(), path));
    assert_eq!(left, [true, true, false, false]);
    clean(site.path(), &site.cache.keys());
}

#[tokio::test]
async fn what_was_pushed_stays_and_what_it_refers_to() {
    let (mut cache, [_, old, new]) = cache();
    let pushed = cache.add("pushed", &[&old]);
    let mut site = Site::new(cache).await;
    let all = site.job(vec![policy(&[&pushed, &new])], &[]);
    site.days(1, &all).await;
    site.tree.keep(&pushed.hash_part(), "pushed").unwrap();
    let only_new = site.job(vec![policy(&[&new])], &[]);
    site.days(40, &only_new).await;
    assert!(is_visible(site.path(), &pushed) && is_visible(site.path(), &old));
    site.tree.unkeep(&pushed.hash_part()).unwrap();
    site.days(3, &only_new).await;
    assert!(!is_visible(site.path(), &pushed) && !is_visible(site.path(), &old));
    clean(site.path(), &site.cache.keys());
}

#[tokio::test]
async fn a_restart_goes_on_counting_where_it_was() {
    let (cache, [_, old, new]) = cache();
    let mut site = Site::new(cache).await;
    let both = site.job(vec![policy(&[&old, &new])], &[]);
    let only_new = site.job(vec![policy(&[&new])], &[]);
    site.days(1, &both).await;
    site.days(2, &only_new).await;
    site.retention = Retention::open(Arc::clone(&site.tree));
    site.now = Duration::ZERO;
    site.days(1, &only_new).await;
    assert!(is_visible(site.path(), &old), "how long it was off is not known");
    site.days(1, &only_new).await;
    assert!(!is_visible(site.path(), &old));
    // Without the document every period begins anew.
    fs::write(site.path().join(".granary/retention.json"), "damaged").unwrap();
    site.retention = Retention::open(Arc::clone(&site.tree));
    let nar = site.cache.get(&old).info.url.clone();
    site.days(3, &only_new).await;
    assert!(site.path().join(".granary/trash").join(&nar).exists());
    site.days(1, &only_new).await;
    assert!(!site.path().join(".granary/trash").join(&nar).exists());
}
