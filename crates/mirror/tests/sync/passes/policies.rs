//! Several policies, and what they assign.

use std::sync::Arc;

use granary_mirror::sync::{Assigned, Job, PartitionSet};

use super::{only, policy};
use crate::common::{Cache, Reply};
use crate::mirrored::Mirrored;

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
