//! Revisions that follow one another.

use granary_nix::StorePath;

use super::super::clean;
use super::super::common::{Cache, Reply};
use super::{LIST, Site};

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
