//! What is published, in which order and in which form.

use granary_nix::{NarInfo, StorePath};

use super::Seen;
use crate::clean;
use crate::common::{Cache, Reply, Upstream, job, mirror, source};

fn published(directory: &std::path::Path, path: &StorePath) -> NarInfo {
    NarInfo::parse(&std::fs::read(directory.join(path.hash_part().narinfo_name())).unwrap()).unwrap()
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
