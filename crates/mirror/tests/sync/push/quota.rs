//! `push.maxSize`, over restarts.

use http::StatusCode;

use super::super::common::Cache;
use super::super::common::cache::Artifact;
use super::{Rules, Site, clean};

#[tokio::test]
async fn what_is_published_counts_after_a_restart_too() {
    let mut cache = Cache::new("test-1");
    let [first, second] = ["first", "second"].map(|name| {
        let path = cache.add_sized(name, &[], 20_000);
        cache.get(&path).clone()
    });
    let length = |artifact: &Artifact| artifact.file.len() as u64;
    // A byte too little for both.
    let max_size = length(&first) + length(&second) - 1;
    let folder = tempfile::tempdir().unwrap();
    let site = Site::start(folder.path(), Rules { max_size, ..Rules::trusting(cache.keys()) }).await;
    assert_eq!(site.push(&first.info, &first.file).await.0, StatusCode::CREATED);
    let mut site = site;
    for restart in [false, true, true] {
        if restart {
            site = site.restarted().await;
        }
        assert_eq!(site.tree.kept_bytes(), length(&first), "restarted: {restart}");
        let (status, words) = site.put(&second.info.url, second.file.clone()).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "restarted: {restart}");
        assert!(words.starts_with("push.maxSize is used up"), "{words}");
        assert_eq!(site.waiting(), 0);
    }
    // What has no mark any more does not count.
    site.tree.unkeep(&first.info.store_path.hash_part()).unwrap();
    let site = site.restarted().await;
    assert_eq!(site.tree.kept_bytes(), 0);
    assert_eq!(site.push(&second.info, &second.file).await.0, StatusCode::CREATED);
    assert_eq!(site.tree.kept_bytes(), length(&second));
    assert_eq!(clean(site.path(), &cache.keys()).artifacts, 2);
}

#[tokio::test]
async fn what_waits_counts_after_a_restart_too() {
    let mut cache = Cache::new("test-1");
    let path = cache.add_sized("waits", &[], 20_000);
    let Artifact { info, file } = cache.get(&path).clone();
    let folder = tempfile::tempdir().unwrap();
    let rules = Rules { max_size: file.len() as u64 + 10, ..Rules::trusting(cache.keys()) };
    let site = Site::start(folder.path(), rules).await;
    assert_eq!(site.put(&info.url, file).await.0, StatusCode::CREATED);
    let site = site.restarted().await;
    assert_eq!(site.put("nar/x.nar", vec![7; 11]).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(site.put("nar/x.nar", vec![7; 10]).await.0, StatusCode::CREATED);
    assert_eq!(site.put_narinfo(&info).await.0, StatusCode::CREATED);
}
