//! Channels: revisions that come, fail in parts, and follow one another.

mod every;
mod torn;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_fetch::Source;
use granary_mirror::channels::{Channels, RoundOutcome, Watcher};
use granary_mirror::compact::HashParts;
use granary_mirror::config::Channel;
use granary_mirror::sync::{Demand, Job, Observer, Roots, Syncer};
use granary_mirror::tree::{Tree, TreeError};
use granary_mirror::wants::Wants;
use granary_nix::{CacheInfo, StorePath};
use granary_placement::report::{ChannelReport, Refusal, RefusalReason};
use jiff::Timestamp;

use super::clean;
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

#[tokio::test(flavor = "multi_thread")]
async fn a_revision_is_brought_with_its_closure_and_kept_over_a_restart() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let app = cache.add("app", &[&base]);
    let other = cache.add("other", &[]);
    let mut site = Site::new(cache, 3).await;
    site.list("26.05.1", &[&app, &other]);
    let report = site.round().await;
    assert_eq!((report.artifacts, report.published, report.refused), (2, 2, 0), "{report:?}");
    assert!(report.complete.clone().unwrap().ends_with("/releases/26.05.1"), "{report:?}");
    assert!(report.completed_at.is_some() && report.lag_seconds == 0 && report.trouble.is_none());
    assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 3);

    assert!(report.looked_at.is_some());

    // The server is gone; the state is on disk.
    site.upstream.set(LIST, Reply::Status(503));
    site.open();
    assert!(site.wants(&app) && site.wants(&other));
    let report = site.round().await;
    assert_eq!((report.published, report.revisions), (2, 1), "{report:?}");
    assert!(report.complete.is_some() && report.trouble.unwrap().contains("503"));

    // What the disk lost is brought again.
    site.tree.as_ref().unwrap().forget(&app.hash_part());
    site.round().await;
    assert!(site.holds(&app));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_fails_is_told_and_tried_again_and_fails_nothing_else() {
    let mut cache = Cache::new("test-1");
    let paths: Vec<StorePath> = (0..5).map(|number| cache.add(&format!("p{number}"), &[])).collect();
    let site = Site::new(cache, 1).await;
    let narinfo = paths[2].hash_part().narinfo_name();
    let good = site.upstream.bytes(&narinfo);
    site.upstream.set(&narinfo, Reply::Status(500));
    site.list("1", &paths.iter().collect::<Vec<_>>());
    let report = site.round().await;
    assert_eq!((report.published, report.refused, report.complete), (4, 1, None), "it may come yet");
    site.upstream.set(&narinfo, Reply::Status(404));
    let report = site.round().await;
    assert_eq!((report.published, report.refused), (4, 1));
    assert!(report.complete.is_some(), "one path that nobody has does not hold a revision up for ever");
    site.upstream.set(&narinfo, Reply::Bytes(good));
    let report = site.round().await;
    assert_eq!((report.published, report.refused), (5, 0), "{report:?}");
    assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_revision_stays_wanted_until_the_new_one_is_complete() {
    let mut cache = Cache::new("test-1");
    let (old, new, both) = (cache.add("old", &[]), cache.add("new", &[]), cache.add("both", &[]));
    let mut site = Site::new(cache, 1).await;
    site.list("1", &[&old, &both]);
    assert!(site.round().await.complete.is_some());
    let narinfo = new.hash_part().narinfo_name();
    let good = site.upstream.bytes(&narinfo);
    site.upstream.set(&narinfo, Reply::Status(500));
    site.list("2", &[&new, &both]);
    let report = site.round().await;
    assert!(report.newest.unwrap().ends_with("/2") && report.complete.unwrap().ends_with("/1"));
    assert!(site.wants(&old) && site.wants(&new) && site.lists() == 2);
    site.open();
    assert!(site.wants(&old) && site.wants(&new), "over a restart too");
    site.upstream.set(&narinfo, Reply::Bytes(good));
    let report = site.round().await;
    assert!(report.complete.unwrap().ends_with("/2") && report.revisions == 1);
    assert!(!site.wants(&old) && site.wants(&new) && site.wants(&both) && site.lists() == 1);
    assert!(site.holds(&old), "to take it out is not the channel's business");
    let in_catalog = |path: &StorePath| site.tree.as_ref().unwrap().in_catalog(&path.hash_part());
    site.channels.as_ref().unwrap().tidy().await;
    assert!(in_catalog(&old), "it is published");
    site.tree.as_ref().unwrap().forget(&old.hash_part());
    site.channels.as_ref().unwrap().tidy().await;
    assert!(!in_catalog(&old) && in_catalog(&new));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_list_changes_nothing() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("path", &[]);
    let site = Site::new(cache, 1).await;
    site.list("1", &[&path]);
    site.round().await;
    let xz = |text: &str| super::common::cache::xz(text.as_bytes());
    let whole = xz(&format!("{path}\n"));
    for bad in [
        Reply::Bytes(b"<html>".to_vec()),
        Reply::Bytes(xz("../../etc/passwd\n")),
        Reply::Bytes(xz("")),
        Reply::Bytes(whole[..whole.len() - 4].to_vec()),
        Reply::Cut { bytes: whole.clone(), after: 10 },
        Reply::Status(404),
        Reply::Stall(whole[..10].to_vec()),
    ] {
        site.upstream.set(LIST, bad.clone());
        let report = site.round().await;
        assert!(report.trouble.is_some() && report.complete.is_some(), "{bad:?}: {report:?}");
        assert!(site.wants(&path) && site.lists() == 1, "{bad:?}");
    }
    let temp = std::fs::read_dir(site.path().join(".granary/tmp")).unwrap().count();
    assert_eq!(temp, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_list_nothing_is_unwanted() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("path", &[]);
    let site = Site::new(cache, 1).await;
    assert!(site.wants.now().is_none(), "nobody has looked");
    let report = site.round().await;
    assert!(report.trouble.unwrap().contains("404") && report.looked_at.is_some());
    assert!(site.wants.now().is_none());
    site.list("1", &[&path]);
    site.round().await;
    assert!(site.wants(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_something_listed_refers_to_is_wanted_while_that_is_not_here() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let app = cache.add("app", &[&base]);
    let mut site = Site::new(cache, 1).await;
    let nar = site.cache.get(&app).info.url.clone();
    site.upstream.set(&nar, Reply::Status(500));
    site.list("1", &[&app]);
    site.round().await;
    assert!(site.holds(&base) && !site.holds(&app));
    assert!(site.wants(&base), "nothing published refers to it");
    site.open();
    assert!(site.wants(&base), "over a restart too");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rotted_under_something_listed_is_brought_again_when_the_round_is_woken() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let app = cache.add("app", &[&base]);
    let mut site = Site::new(cache, 1).await;
    site.list("1", &[&app]);
    assert!(site.round().await.complete.is_some());
    let url = site.cache.get(&base).info.url.clone();
    let nar = site.path().join(url);
    let (wake, stop) = (tokio::sync::Notify::new(), tokio_util::sync::CancellationToken::new());
    let (channels, told) = (site.channels.as_ref().unwrap(), Told::default());
    let run = channels.run(Duration::from_hours(1), true, &told, &wake, &stop);
    let rot = async {
        let tree = site.tree.as_ref().unwrap();
        told.ended.notified().await;
        std::fs::remove_file(&nar).unwrap();
        tree.forget(&base.hash_part());
        wake.notify_one();
        told.ended.notified().await;
        stop.cancel();
    };
    tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(run, rot) }).await.unwrap();
    assert!(nar.exists() && site.holds(&base) && site.holds(&app));
}

/// Collects what it is told.
#[derive(Default)]
struct Told {
    refused: std::sync::Mutex<Vec<(String, bool)>>,
    ended: tokio::sync::Notify,
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

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_not_looked_for_where_clouds_keep_their_secrets() {
    let site = Site::new(Cache::new("test-1"), 1).await;
    site.upstream.set(LIST, Reply::Redirect("http://169.254.169.254/latest/meta-data".into()));
    let trouble = site.round().await.trouble.unwrap();
    assert!(trouble.contains("store-paths.xz cannot be had") && trouble.contains("nearer"), "{trouble}");
}

/// The most memory that this process has had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_take_no_gigabyte() {
    let mut site = Site::new(Cache::new("test-1"), 1).await;
    let mut text = String::new();
    for number in 0..1_000_000_u64 {
        // Digits are hash parts that compress quickly.
        writeln!(text, "/nix/store/{number:032}-package-{number}-with-a-name-of-common-length-1.0").unwrap();
    }
    site.upstream.set(LIST, Reply::Bytes(super::common::cache::xz(text.as_bytes())));
    drop(text);
    // Nobody gives anything: the list alone is what counts.
    let nobody = Upstream::start().await;
    site.source = Some(source(&nobody, &site.cache.keys(), 40));
    drop(nobody);
    site.open();
    let before = peak();
    let report = site.round().await;
    assert_eq!((report.artifacts, report.published, report.complete), (1_000_000, 0, None));
    assert_eq!(report.trouble, None);
    assert!(site.wants.now().is_some());
    let grown = peak() - before;
    assert!(grown < 700, "{grown} MiB");
}
