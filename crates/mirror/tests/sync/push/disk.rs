//! A disk that takes nothing in.

use http::StatusCode;

use super::super::common::cache::Artifact;
use super::super::common::{Cache, Small};
use super::{Rules, Site, clean, eventually};

#[tokio::test]
async fn while_the_disk_is_read_only_the_answer_is_507_and_what_waits_is_not_lost() {
    if !Small::is_possible() {
        return;
    }
    let mut cache = Cache::new("test-1");
    let [waits, other, again] = ["waits", "other", "again"].map(|name| {
        let path = cache.add(name, &[]);
        cache.get(&path).clone()
    });
    let folder = tempfile::tempdir().unwrap();
    let disk = Small::mount(&folder.path().join("tree"), "32m");
    let site = Site::start(folder.path(), Rules::trusting(cache.keys())).await;
    assert_eq!(site.put(&waits.info.url, waits.file.clone()).await.0, StatusCode::CREATED);
    assert_eq!(site.push(&again.info, &again.file).await.0, StatusCode::CREATED);
    eventually("read-only", || disk.try_remount("ro").ok()).await;

    let log = format!("log/{}.drv", again.info.store_path.base_name());
    let listing = format!("{}.ls", waits.info.store_path.hash_part());
    let chunked = reqwest::Body::wrap_stream(futures::stream::iter([Ok::<_, std::io::Error>("NAR")]));
    for (what, (status, words)) in [
        ("a NAR file", site.put(&other.info.url, other.file.clone()).await),
        ("one in chunks", site.put("nar/x.nar", chunked).await),
        ("the narinfo of one that waits", site.put_narinfo(&waits.info).await),
        ("the same again, as Nix sends it", site.put_narinfo(&waits.info).await),
        ("a listing", site.put(&listing, r#"{"version":1,"root":{"type":"regular","size":3000}}"#).await),
    ] {
        assert_eq!(status, StatusCode::INSUFFICIENT_STORAGE, "{what}: {words}");
        assert!(words.to_lowercase().contains("read-only"), "{what}: {words}");
    }
    // What is there needs no disk that can be written to.
    assert_eq!(site.put_narinfo(&again.info).await.0, StatusCode::OK);
    assert_eq!(site.put(&again.info.url, again.file).await.0, StatusCode::CREATED);
    // No derivation of anything here.
    assert_eq!(site.put(&log, "log").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(site.refusals.newest(9).1, 0, "no artifact is bad for that");

    disk.try_remount("rw").unwrap();
    assert!(site.tree.takes_in());
    assert_eq!(site.put_narinfo(&waits.info).await.0, StatusCode::CREATED);
    let Artifact { info, file } = other;
    assert_eq!(site.push(&info, &file).await.0, StatusCode::CREATED);
    assert_eq!(clean(site.path(), &cache.keys()).artifacts, 3);
}
