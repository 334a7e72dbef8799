//! Build logs.

use std::fs;

use granary_mirror::tree::Tree;
use granary_nix::{CacheInfo, HashPart};
use http::StatusCode;

use super::super::Fixture;
use super::{DRV, gzip};
use crate::support::{eventually, put_half};

#[tokio::test]
async fn a_log_is_taken_whole_within_its_bounds_and_of_what_is_here_and_leaves_with_it() {
    let Some(mut fixture) = Fixture::start("8Mi").await else { return };
    let name = format!("log/{DRV}");
    let log = b"what the build wrote\n".repeat(1000);
    let (status, words) = fixture.put(&name, log.clone()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(words.contains("belongs to nothing that is here"), "{words}");
    fixture.push_library().await;

    // Without the token; encoded as nobody knows, or not as it says; a bomb; over the quota, which the library counts in.
    let url = format!("{}/{name}", fixture.mirror.url());
    let put = fixture.scene.client.put(&url).body("x").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::UNAUTHORIZED);
    for encoding in ["rot13", "gzip"] {
        assert_eq!(fixture.put_encoded(&name, encoding, log.clone()).await, StatusCode::BAD_REQUEST);
    }
    let bomb = gzip(&vec![b'x'; 30 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(fixture.put_encoded(&name, "gzip", bomb).await, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, words) = fixture.put(&name, vec![b'x'; 6 << 20]).await;
    assert!(status == StatusCode::PAYLOAD_TOO_LARGE && words.contains("push.maxSize is used up"), "{words}");

    // A client that dies in the middle.
    let socket = put_half(fixture.mirror.site.http, &name, &vec![b'x'; 3 << 20]);
    let temp = fixture.mirror.site.tree().join(".granary/tmp");
    let half = || {
        let files = fs::read_dir(&temp).unwrap();
        files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum::<u64>()
    };
    eventually("half of it has come", async || (half() > 1_000_000).then_some(())).await;
    assert_eq!(fixture.get(&name).await.0, StatusCode::NOT_FOUND);
    drop(socket);
    eventually("the half is removed", async || (half() == 0).then_some(())).await;
    assert!(fixture.read(&name).is_none());

    assert_eq!(fixture.put_encoded(&name, "gzip", gzip(&log)).await, StatusCode::CREATED);
    assert_eq!(fixture.get(&name).await, (StatusCode::OK, log.clone()));
    assert_eq!(fixture.put(&name, b"another".to_vec()).await.0, StatusCode::OK);
    assert_eq!(fixture.read(&name), Some(log), "what clients have seen stays");

    // It counts, after a restart too: fewer bytes are left than the library alone would leave.
    let counted = "granary_mirror_extra_files_total{kind=\"log\",result=\"pushed\"} 1";
    fixture.mirror.has_metrics(&[counted]).await;
    assert_eq!(fixture.mirror.stop(), Some(0));
    let tree = fixture.mirror.site.tree();
    assert_eq!(fs::read_to_string(tree.join(".granary/pushed")).unwrap(), format!("{name}\n"));
    let tree = Tree::open(&tree, &CacheInfo::default()).unwrap();
    let hash: HashPart = fixture.library.hash_part().parse().unwrap();
    tree.unkeep(&hash).unwrap();
    tree.remove(&hash).unwrap();
    assert!(fixture.read(&name).is_none(), "it leaves with what it is of");
}
