//! Rot on the disk, found by the scrub, set aside, and repaired by the next pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use granary_fetch::{Source, SourceKind};
use granary_mirror::scrub::pace::Rules;
use granary_mirror::scrub::{Scrubber, Standing, Suspect, Watcher};
use granary_mirror::sync::{Job, Syncer};
use granary_mirror::tree::Tree;
use granary_mirror::verify::verify_tree;
use granary_nix::{Hash, NarInfo, StorePath, Trust};
use granary_placement::report::RefusalReason;
use tokio_util::sync::CancellationToken;

use super::common::{Cache, Reply, Upstream, job, mirror, source};
use super::{clean, is_visible};

mod names;
mod trash;

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

#[tokio::test]
async fn a_flipped_bit_is_found_and_repaired_while_referrers_stay() {
    let mut site = Site::new().await;
    let (library, app) = (site.library.clone(), site.app.clone());
    let nar = site.nar(&library);
    let good = fs::read(&nar).unwrap();
    let mut bad = good.clone();
    bad[50_000] ^= 0x10;
    fs::write(&nar, &bad).unwrap();
    assert!(site.syncer.pass(&site.job, &()).await.published == 0, "a pass does not read what is there");

    assert_eq!(site.scrub().await, [("nar", true)]);
    assert!(!nar.exists() && !is_visible(site.path(), &library), "nobody gets the bad bytes any more");
    assert!(
        is_visible(site.path(), &app) && site.in_catalog(&library).exists(),
        "its narinfo is still answered"
    );
    let record = site.tree.quarantined(&library.hash_part()).unwrap();
    assert_eq!(record.refusal.reason, RefusalReason::FileHash);
    assert_eq!(record.refusal.store_path, library.to_string());
    let kept = site.path().join(".granary/quarantine").join(nar.file_name().unwrap());
    assert_eq!(fs::read(kept).unwrap(), bad, "kept for people to look at");
    assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 1);

    site.upstream.take_asked();
    site.repaired().await;
    assert_eq!(fs::read(&nar).unwrap(), good);
    assert!(site.upstream.take_asked().iter().any(|asked| nar.ends_with(&asked.path)));
    assert!(site.tree.quarantined(&library.hash_part()).is_none());
}

#[tokio::test]
async fn rot_is_repaired_from_another_mirror_while_the_upstream_is_away() {
    let mut site = Site::new().await;
    let (library, nar) = (site.library.clone(), site.nar(&site.library.clone()));
    let good = fs::read(&nar).unwrap();
    let other = Upstream::of(&site.cache).await;
    let peer = Source { kind: SourceKind::Mirror, ..source(&other, &site.cache.keys(), 0) };
    site.job.sources.push(peer);
    for artifact in &site.cache.artifacts {
        let info = &artifact.info;
        for name in [info.store_path.hash_part().narinfo_name(), info.url.clone()] {
            site.upstream.set(&name, Reply::Status(503));
        }
    }
    flip(&nar, 50_000);
    assert_eq!(site.scrub().await, [("nar", true)]);
    assert!(!nar.exists() && !is_visible(site.path(), &library));
    other.take_asked();
    // Whether the upstream has something newer is not known: what is here is repaired all the same.
    let outcome = site.syncer.pass(&site.job, &()).await;
    assert!(!outcome.refused.iter().any(|refusal| refusal.store_path == library.to_string()), "{outcome:#?}");
    assert_eq!(fs::read(&nar).unwrap(), good);
    let asked = other.take_asked();
    assert!(asked.iter().any(|asked| nar.ends_with(&asked.path) && asked.hop), "{asked:?}");
    assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 2);
    assert_eq!(site.scrub().await, [], "nothing is rotten any more");
}

#[tokio::test]
async fn files_that_are_cut_gone_or_no_files_are_found() {
    let mut site = Site::new().await;
    let library = site.library.clone();
    let nar = site.nar(&library);
    let good = fs::read(&nar).unwrap();
    fs::write(&nar, &good[..70_000]).unwrap();
    assert_eq!(site.scrub().await, [("nar", true)]);
    site.repaired().await;
    fs::remove_file(&nar).unwrap();
    assert_eq!(site.scrub().await, [("nar", true)]);
    site.repaired().await;
    // Reading a directory fails as reading a bad disk does: with an error, and not with other bytes.
    fs::remove_file(&nar).unwrap();
    fs::create_dir(&nar).unwrap();
    assert_eq!(site.scrub().await, [("nar", true)]);
    let record = site.tree.quarantined(&library.hash_part()).unwrap();
    assert_eq!(record.refusal.reason, RefusalReason::Disk);
    fs::remove_dir(&nar).unwrap();
    site.repaired().await;
}

#[tokio::test]
async fn rotten_narinfos_are_written_again_from_each_other() {
    let site = Site::new().await;
    let (published, catalog) = (site.narinfo(&site.library), site.in_catalog(&site.library));
    let text = fs::read_to_string(&published).unwrap();
    site.upstream.take_asked();
    for (path, kind) in [(&published, "narinfo"), (&catalog, "catalog")] {
        for rotten in ["rotten".to_owned(), text.replace("NarSize: ", "NarSize: 1"), String::new()] {
            fs::write(path, &rotten).unwrap();
            assert_eq!(site.scrub().await, [(kind, false)], "{rotten}");
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
    }
    assert_eq!(site.upstream.take_asked(), [], "nobody was asked for that");
    fs::write(&published, "rotten").unwrap();
    fs::write(&catalog, "rotten").unwrap();
    assert_eq!(site.scrub().await, [("narinfo", true), ("catalog", true)]);
    assert!(!published.exists() && !catalog.exists(), "rather none than a bad one");
    site.repaired().await;
    assert_eq!(fs::read_to_string(&published).unwrap(), text);
}

#[tokio::test]
async fn a_key_that_is_trusted_no_longer_is_no_rot() {
    let site = Site::new().await;
    let seen = Seen { rounds: Mutex::new(2), ..Seen::default() };
    let other = Cache::new("other-1").keys();
    Scrubber::open(Arc::clone(&site.tree), &other, FAST).run(&seen, seen.stop.clone()).await;
    assert_eq!(*seen.rotten.lock().unwrap(), []);
    assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 2);
}

#[tokio::test]
async fn a_disk_that_cannot_be_read_is_not_emptied_for_it() {
    let mut cache = Cache::new("test-1");
    let paths: Vec<StorePath> = (0..12).map(|number| cache.add(&format!("p{number}"), &[])).collect();
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    let (tree, syncer) = mirror(directory.path());
    let job = job(vec![source(&upstream, &cache.keys(), 40)], &paths.iter().collect::<Vec<_>>());
    assert!(syncer.pass(&job, &()).await.is_synced());
    for path in &paths {
        let nar = directory.path().join(&cache.get(path).info.url);
        fs::remove_file(&nar).unwrap();
        fs::create_dir(&nar).unwrap();
    }
    let seen = Seen { rounds: Mutex::new(1), ..Seen::default() };
    Scrubber::open(Arc::clone(&tree), &cache.keys(), FAST).run(&seen, seen.stop.clone()).await;
    assert_eq!(seen.rotten.lock().unwrap().len(), 4);
    assert_eq!(tree.totals().artifacts, 8);
    assert!(seen.standing.lock().unwrap().as_ref().unwrap().failing.is_some(), "and it says so");
}

#[tokio::test]
async fn it_goes_on_where_it_was_and_says_when_the_budget_is_too_small() {
    let site = Site::new().await;
    // The first artifact is due at once, the second after most of the period.
    let slow = Rules { period: Duration::from_hours(24), bandwidth: 1 << 20 };
    let read_one = async |rules| {
        let seen = Seen { rounds: Mutex::new(9), ..Seen::default() };
        let scrub = Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), rules);
        // It is stopped by whoever waits for it.
        let stop = seen.stop.clone();
        tokio::join!(scrub.run(&seen, stop.clone()), async {
            loop {
                let read = seen.standing.lock().unwrap().as_ref().map_or(0, |last| last.round.artifacts);
                if read > 0 {
                    break stop.cancel();
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        seen.standing.into_inner().unwrap().unwrap()
    };
    let standing = read_one(slow).await;
    assert_eq!((standing.round.artifacts, standing.artifacts, &standing.late), (1, 2, &None));
    let again = read_one(slow).await;
    let read = |of: &Standing| (of.round.began, of.round.after, of.round.bytes, of.round.artifacts);
    assert_eq!(read(&again), read(&standing), "nothing was read twice");
    let hopeless = Rules { period: Duration::from_secs(1), bandwidth: 10_000 };
    let standing = read_one(hopeless).await;
    assert!(standing.late.as_ref().unwrap().contains("10000 bytes a second"), "{standing:?}");
    // Without the document it begins anew.
    fs::write(site.path().join(".granary/scrub.json"), "damaged").unwrap();
    assert_eq!(read_one(slow).await.round.artifacts, 1);
    assert_eq!(verify_tree(site.path(), &site.cache.keys()).unwrap().faults, []);
}

/// A round that began while the clock was two centuries fast, and that has taken its time: the rest is due now, and not then.
#[tokio::test]
async fn a_clock_that_was_set_back_does_not_end_the_scrub() {
    let site = Site::new().await;
    let first = site.tree.next_after(None, 1)[0];
    let day = Duration::from_hours(24);
    let began = format!(
        r#"{{"began":"2199-01-01T00:00:00Z","kept":"2199-01-02T00:00:00Z","elapsed":{},"after":"{first}","artifacts":1,"bytes":1}}"#,
        day.as_millis()
    );
    fs::write(site.path().join(".granary/scrub.json"), began).unwrap();
    let rules = Rules { period: day, bandwidth: 1 << 30 };
    let seen = Seen { rounds: Mutex::new(1), ..Seen::default() };
    let scrubber = Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), rules);
    let round = tokio::time::timeout(Duration::from_mins(1), scrubber.run(&seen, seen.stop.clone()));
    round.await.expect("it waits for a time that does not come");
    let last = seen.standing.into_inner().unwrap().unwrap().round;
    assert!(last.ended.is_some() && last.artifacts == 0, "another has begun: {last:?}");
    assert!(last.elapsed < day, "with a time of its own");
}

/// A file that Linux gives an EIO for: nothing is mapped at its start.
fn unreadable(path: &Path) {
    fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", path).unwrap();
    assert_eq!(fs::read(path).unwrap_err().raw_os_error(), Some(5));
}

#[tokio::test]
async fn what_the_disk_does_not_give_back_is_rot_told_with_its_path_and_no_end_of_the_round() {
    let mut site = Site::new().await;
    let (library, app) = (site.library.clone(), site.app.clone());
    let nar = site.nar(&library);
    unreadable(&nar);
    unreadable(&site.narinfo(&app));
    unreadable(&site.in_catalog(&app));
    let mut rotten = site.scrub().await;
    rotten.sort_unstable();
    assert_eq!(rotten, [("catalog", true), ("nar", true), ("narinfo", true)]);
    for (artifact, path) in [(&library, &nar), (&app, &site.narinfo(&app))] {
        let refusal = site.tree.quarantined(&artifact.hash_part()).unwrap().refusal;
        assert_eq!(refusal.reason, RefusalReason::Disk);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(refusal.message.contains(name) && refusal.message.contains("os error 5"), "{refusal:?}");
    }
    assert!(!is_visible(site.path(), &library));
    site.repaired().await;
}

#[tokio::test]
async fn an_unreadable_narinfo_is_put_right_from_the_other_one() {
    let site = Site::new().await;
    let app = site.app.clone();
    for path in [site.narinfo(&app), site.in_catalog(&app)] {
        unreadable(&path);
        let rotten = site.scrub().await;
        assert!(matches!(rotten[..], [(_, false)]), "{rotten:?}");
        assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 2);
    }
}

#[tokio::test]
async fn a_tree_with_an_unreadable_narinfo_opens_and_a_pass_gets_that_again() {
    let site = Site::new().await;
    let Site { cache, upstream: _upstream, directory, tree, syncer, job, library: _, app } = site;
    drop((tree, syncer));
    unreadable(&directory.path().join(app.hash_part().narinfo_name()));
    let (tree, syncer) = mirror(directory.path());
    assert_eq!(tree.totals().artifacts, 1);
    assert!(syncer.pass(&job, &()).await.is_synced());
    assert_eq!(clean(directory.path(), &cache.keys()).artifacts, 2);
}

#[tokio::test]
async fn a_suspect_is_looked_at_before_its_turn_and_without_a_scrub() {
    for scrubs in [true, false] {
        let mut site = Site::new().await;
        let library = site.library.clone();
        let nar = site.nar(&library);
        let slow = Rules { period: Duration::from_hours(24), bandwidth: 1 << 30 };
        let (name, suspects) = tokio::sync::mpsc::channel(1);
        let seen = Seen { rounds: Mutex::new(9), ..Seen::default() };
        let scrubber =
            Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), slow).with_suspects(suspects);
        let stop = seen.stop.clone();
        let found = async {
            // The first is due at once; nothing else is for hours.
            while scrubs && seen.reads.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            fs::write(&nar, "rotten").unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
            assert!(seen.rotten.lock().unwrap().is_empty());
            name.send(Suspect::Artifact(library.hash_part())).await.unwrap();
            while seen.rotten.lock().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            stop.cancel();
        };
        let found = tokio::time::timeout(Duration::from_secs(30), found);
        let scrub = async {
            if scrubs {
                scrubber.run(&seen, stop.clone()).await;
            } else {
                scrubber.run_suspects(&seen, stop.clone()).await;
            }
        };
        let (found, ()) = tokio::join!(found, scrub);
        found.unwrap();
        assert_eq!(*seen.rotten.lock().unwrap(), [("nar", true)]);
        site.repaired().await;
    }
}

#[tokio::test]
async fn a_single_artifact_is_read_once_in_a_period() {
    let site = Site::new().await;
    site.tree.forget(&site.app.hash_part());
    let rules = Rules { period: Duration::from_hours(24), bandwidth: 1 << 30 };
    let seen = Seen { rounds: Mutex::new(9), ..Seen::default() };
    let scrubber = Scrubber::open(Arc::clone(&site.tree), &site.cache.keys(), rules);
    let waited = async {
        while seen.reads.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Far more than one reading takes.
        tokio::time::sleep(Duration::from_secs(1)).await;
        seen.stop.cancel();
    };
    tokio::join!(scrubber.run(&seen, seen.stop.clone()), waited);
    assert_eq!(seen.reads.into_inner(), 1);
}

#[tokio::test]
async fn the_catalog_names_the_file_that_is_here_whatever_a_narinfo_says_of_its_own() {
    let site = Site::new().await;
    let hash = site.library.hash_part();
    let ours = site.tree.catalog_narinfo(&hash).unwrap();
    let packed_anew = NarInfo { file_hash: Some(Hash::of(b"packed anew")), ..ours.clone() };
    site.tree.put_in_catalog([&packed_anew]).unwrap();
    assert_eq!(site.tree.catalog_narinfo(&hash).unwrap(), ours);
}
