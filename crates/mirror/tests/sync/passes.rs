//! What passes do one after the other, and for several policies.

use std::sync::{Arc, Mutex};

use granary_mirror::sync::{Assigned, Job, Observer, PartitionSet, PolicyJob};
use granary_nix::{NarInfo, StorePath};
use granary_placement::Partition;
use granary_placement::report::{PolicyReport, Refusal, RefusalReason};

use super::common::{Cache, Reply, Upstream, job, mirror, source};
use super::mirrored::Mirrored;
use super::{clean, reason};

fn policy(name: &str, roots: &[&StorePath], assigned: Assigned) -> PolicyJob {
    PolicyJob { name: name.into(), roots: roots.iter().map(|root| (*root).clone()).collect(), assigned }
}

/// Assigned are the partitions of these paths.
fn only(paths: &[&StorePath]) -> Assigned {
    let partitions: Vec<_> =
        paths.iter().map(|path| Partition::of(path.hash_part().as_str()).unwrap()).collect();
    Assigned::Partitions(Arc::new(PartitionSet::from_fn(|partition| partitions.contains(&partition))))
}

fn published(directory: &std::path::Path, path: &StorePath) -> NarInfo {
    NarInfo::parse(&std::fs::read(directory.join(path.hash_part().narinfo_name())).unwrap()).unwrap()
}

#[derive(Default)]
struct Seen {
    published: Mutex<Vec<StorePath>>,
    refused: Mutex<Vec<(Refusal, bool)>>,
    progress: Mutex<Vec<Vec<PolicyReport>>>,
}

impl Observer for Seen {
    fn progress(&self, policies: &[PolicyReport]) {
        self.progress.lock().unwrap().push(policies.to_vec());
    }

    fn published(&self, store_path: &StorePath, _bytes: u64) {
        self.published.lock().unwrap().push(store_path.clone());
    }

    fn refused(&self, refusal: &Refusal, again: bool) {
        self.refused.lock().unwrap().push((refusal.clone(), again));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_is_published_references_first_and_then_left_alone() {
    let mut cache = Cache::new("test-1");
    let mut paths: Vec<StorePath> = Vec::new();
    for number in 0..30_usize {
        let references: Vec<StorePath> = paths.iter().rev().step_by(3).cloned().collect();
        // Early ones are large, so that late ones arrive before them.
        paths.push(cache.add_sized(
            &format!("p{number}"),
            &references.iter().collect::<Vec<_>>(),
            300_000 / (number + 1),
        ));
    }
    let own = cache.add("own", &[]);
    cache.get(&own).info.references.push(own.clone());
    cache.sign(&own);
    let root = cache.add("root", &paths.iter().chain([&own]).collect::<Vec<_>>());
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    let (tree, syncer) = mirror(directory.path());
    let job = job(vec![source(&upstream, &cache.keys(), 40)], &[&root]);
    let seen = Seen::default();
    let outcome = syncer.pass(&job, &seen).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    assert_eq!(outcome.published, 32);
    let order = seen.published.into_inner().unwrap();
    for (place, path) in order.iter().enumerate() {
        let references = &cache.get(path).info.references;
        assert!(references.iter().all(|reference| order[..=place].contains(reference)), "{path} too early");
    }
    let check = clean(directory.path(), &cache.keys());
    assert_eq!((check.artifacts, check.catalog, check.notes.len()), (32, 32, 0));
    let bytes: u64 = cache.artifacts.iter().map(|artifact| artifact.file.len() as u64).sum();
    assert_eq!((tree.totals().artifacts, tree.totals().bytes, check.bytes), (32, bytes, bytes));
    let report = &outcome.policies[0];
    assert_eq!((report.assigned, report.verified, report.verified_bytes), (32, 32, bytes));
    let catalog = report.catalog.as_ref().unwrap();
    assert_eq!((catalog.artifacts, catalog.bytes), (32, bytes));
    assert!(!seen.progress.lock().unwrap().is_empty());

    upstream.take_asked();
    let again = syncer.pass(&job, &()).await;
    assert!(again.is_synced() && again.published == 0);
    assert_eq!(again.policies[0].catalog, report.catalog);
    drop((tree, syncer));
    let (tree, syncer) = mirror(directory.path());
    assert_eq!((tree.totals().artifacts, tree.totals().bytes), (32, bytes), "counted again at start");
    assert!(syncer.pass(&job, &()).await.is_synced());
    assert_eq!(upstream.take_asked(), [], "nothing is asked that the disk knows");
}

#[tokio::test]
async fn what_is_published_is_in_our_form() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let other = cache.key.clone();
    let upstream = Upstream::start().await;
    let artifact = cache.get(&path);
    let real = (artifact.info.file_hash, artifact.info.file_size);
    (artifact.info.file_hash, artifact.info.file_size) = (None, None);
    artifact.info.url = "some/where?id=7".into();
    artifact.info.sigs.push(other.sign("something else"));
    artifact.info.deriver = Some(StorePath::parse_base_name(&format!("{}-a.drv", path.hash_part())).unwrap());
    let text = format!("{}Mirrors: http://x.example\n", artifact.info.to_text());
    upstream.set(&path.hash_part().narinfo_name(), Reply::Bytes(text.into_bytes()));
    upstream.set("some/where?id=7", Reply::Unannounced(artifact.file.clone()));
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let outcome = syncer.pass(&job(vec![source(&upstream, &cache.keys(), 40)], &[&path]), &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{outcome:#?}");
    let info = published(directory.path(), &path);
    let artifact = cache.get(&path);
    assert_eq!((info.file_hash, info.file_size), real, "computed, for the upstream did not say");
    assert_eq!(info.url, format!("nar/{}.nar.xz", real.0.unwrap().to_nix32()));
    assert_eq!((&info.sigs, &info.deriver), (&artifact.info.sigs, &artifact.info.deriver));
    let text = std::fs::read_to_string(directory.path().join(path.hash_part().narinfo_name())).unwrap();
    assert_eq!(text, info.to_text(), "nothing else is in it");
    let info = std::fs::read_to_string(directory.path().join("nix-cache-info")).unwrap();
    assert_eq!(info, "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n");
    clean(directory.path(), &cache.keys());
}

#[tokio::test]
async fn two_policies_and_only_what_is_assigned() {
    let mut cache = Cache::new("test-1");
    let shared = cache.add("shared", &[]);
    let left = cache.add("left", &[&shared]);
    let right = cache.add("right", &[&shared]);
    let mut site = Mirrored::of(cache).await;
    let policies = vec![
        policy("left", &[&left], only(&[&left])),
        policy("right", &[&right], only(&[&shared])),
        policy("none", &[&right], Assigned::Partitions(Arc::new(PartitionSet::from_fn(|_| false)))),
    ];
    let sources = vec![site.source()];
    let outcome = site.syncer.pass(&Job { policies, sources, ..Job::default() }, &()).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    let numbers: Vec<_> = outcome
        .policies
        .iter()
        .map(|report| {
            (
                report.name.as_str(),
                report.assigned,
                report.verified,
                report.catalog.as_ref().unwrap().artifacts,
            )
        })
        .collect();
    assert_eq!(numbers, [("left", 1, 1, 2), ("right", 1, 1, 2), ("none", 0, 0, 2)]);
    assert_eq!(outcome.policies[1].catalog, outcome.policies[2].catalog, "one closure, one digest");
    assert!(site.is_visible(&left) && site.is_visible(&shared));
    assert!(!site.is_visible(&right));
    let check = site.clean();
    assert_eq!((check.artifacts, check.catalog), (2, 3));

    // What is held elsewhere can be found by its NAR file's name.
    let info = site.cache.get(&right).info.clone();
    let file = info.url.strip_prefix("nar/").unwrap();
    let found = site.tree.find_nar(file).unwrap();
    assert_eq!((found.hash_part, found.expected.file_size), (right.hash_part(), info.file_size));
    // By its NarHash too, by which clients know it if they read the narinfo when no FileHash was known.
    let by_nar = file.replace(&info.file_hash.unwrap().to_nix32(), &info.nar_hash.to_nix32());
    assert_eq!(site.tree.find_nar(&by_nar), Some(found));
    assert_eq!(site.tree.find_nar(&by_nar.replace(".xz", ".zst")), None, "a name is of one compression");
}

#[tokio::test]
async fn a_reference_held_elsewhere_is_enough_to_publish() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let top = cache.add("top", &[&base]);
    let mut site = Mirrored::of(cache).await;
    site.upstream.set(&site.cache.get(&base).info.url, Reply::Status(404));
    let policies = vec![policy("p", &[&top], only(&[&top]))];
    let job = Job { policies, sources: vec![site.source()], ..Job::default() };
    let outcome = site.syncer.pass(&job, &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{outcome:#?}");
    assert!(site.is_visible(&top) && !site.is_visible(&base));
    site.clean();
}

#[tokio::test]
async fn a_refused_artifact_is_taken_when_it_is_good() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let top = cache.add("top", &[&base]);
    let mut site = Mirrored::of(cache).await;
    let artifact = site.cache.get(&base).clone();
    site.upstream.set(&artifact.info.url, Reply::Bytes(vec![1; artifact.file.len()]));
    let job = site.job(&[&top]);
    let seen = Seen::default();
    let outcome = site.syncer.pass(&job, &seen).await;
    assert_eq!(reason(&outcome, &base), Some(RefusalReason::FileHash));
    assert_eq!(reason(&outcome, &top), Some(RefusalReason::MissingReference));
    assert!(seen.refused.lock().unwrap().iter().all(|(_, again)| !again));
    assert!(site.tree.quarantined(&base.hash_part()).is_some());
    assert!(!site.tree.in_catalog(&base.hash_part()), "nobody is sent to a NAR file that is bad");

    site.upstream.set(&artifact.info.url, Reply::Bytes(artifact.file));
    let outcome = site.syncer.pass(&job, &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{outcome:#?}");
    assert!(site.tree.quarantined(&base.hash_part()).is_none() && site.tree.in_catalog(&base.hash_part()));
    assert_eq!(site.clean().artifacts, 2);
}

#[tokio::test]
async fn a_refusal_that_stands_is_told_again_and_costs_no_transfer() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let mut site = Mirrored::of(cache).await;
    let artifact = site.cache.get(&path).clone();
    site.upstream.set(&artifact.info.url, Reply::Bytes(vec![1; artifact.file.len()]));
    let job = site.job(&[&path]);
    let mut transfers = Vec::new();
    for _ in 0..4 {
        let seen = Seen::default();
        let outcome = site.syncer.pass(&job, &seen).await;
        assert_eq!(reason(&outcome, &path), Some(RefusalReason::FileHash));
        assert!(outcome.is_synced(), "what is refused is all there is to say");
        assert_eq!(seen.refused.lock().unwrap().len(), 1);
        transfers
            .push(site.upstream.take_asked().iter().filter(|asked| asked.path == artifact.info.url).count());
    }
    assert_eq!(transfers, [1, 1, 0, 0]);
}

#[tokio::test]
async fn an_upstream_that_is_down_takes_nothing_away() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let top = cache.add("top", &[&base]);
    let later = cache.add("later", &[&base]);
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let sources = vec![source(&upstream, &cache.keys(), 40)];
    assert!(syncer.pass(&job(sources.clone(), &[&top]), &()).await.is_synced());
    drop(upstream);
    let outcome = syncer.pass(&job(sources.clone(), &[&top]), &()).await;
    assert!(outcome.is_synced(), "everything is here: {outcome:#?}");
    let outcome = syncer.pass(&job(sources, &[&later]), &()).await;
    assert_eq!(reason(&outcome, &later), Some(RefusalReason::UpstreamUnreachable));
    assert!(!outcome.is_synced() && !outcome.upstreams[0].ok);
    let report = &outcome.policies[0];
    assert!(report.catalog_error.as_ref().unwrap().contains("1 of 1"), "{report:?}");
    assert_eq!(
        report.catalog.as_ref().unwrap().artifacts,
        2,
        "the catalog that was resolved last still stands"
    );
    assert_eq!(
        clean(directory.path(), &cache.keys()).catalog,
        2,
        "nothing is forgotten while it cannot be asked for"
    );
}

#[tokio::test]
async fn what_nobody_wants_leaves_the_catalog_but_not_the_tree() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let (held, gone) = (cache.add("held", &[&base]), cache.add("gone", &[]));
    let site = Mirrored::of(cache).await;
    let sources = vec![site.source()];
    let policies = vec![policy("p", &[&held, &gone], only(&[&held]))];
    assert!(
        site.syncer
            .pass(&Job { policies, sources: sources.clone(), ..Job::default() }, &())
            .await
            .is_synced()
    );
    assert!(site.tree.in_catalog(&gone.hash_part()));
    let outcome = site.syncer.pass(&Job { policies: Vec::new(), sources, ..Job::default() }, &()).await;
    assert!(outcome.is_synced());
    assert!(!site.tree.in_catalog(&gone.hash_part()));
    assert!(site.tree.in_catalog(&base.hash_part()), "what is published needs it");
    assert!(site.is_visible(&held));
    site.clean();
}

#[tokio::test]
async fn a_copy_that_is_lost_is_had_again() {
    let mut cache = Cache::new("test-1");
    let paths = ["a", "b", "c"].map(|name| cache.add(name, &[]));
    let mut site = Mirrored::of(cache).await;
    assert!(site.pass(&paths.each_ref()).await.is_synced());
    let [first, second] = [0, 1].map(|number| site.nar_file(&paths[number]));
    std::fs::remove_file(first).unwrap();
    let cut = std::fs::OpenOptions::new().write(true).open(second);
    cut.unwrap().set_len(10).unwrap();
    let outcome = site.pass(&paths.each_ref()).await;
    assert_eq!((outcome.published, outcome.is_synced()), (2, true));
    assert_eq!(site.tree.totals().artifacts, 3);
    site.clean();
}
