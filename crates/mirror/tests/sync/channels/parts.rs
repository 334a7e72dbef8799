//! Parts of a revision that cannot be had.

use granary_nix::StorePath;

use super::super::clean;
use super::super::common::{Cache, Reply};
use super::Site;

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
