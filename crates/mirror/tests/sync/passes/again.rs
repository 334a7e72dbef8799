//! What the next pass makes of what the last one left.

use granary_placement::report::RefusalReason;

use super::Seen;
use crate::common::{Cache, Reply, Upstream, job, mirror, source};
use crate::mirrored::Mirrored;
use crate::{clean, reason};

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
