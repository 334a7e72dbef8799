//! Files that are wrong, and sources that do not give them.

use granary_placement::report::RefusalReason;

use super::{Got, LARGE, Scene, Site, source};
use crate::common::{Reply, Upstream};

#[tokio::test]
async fn a_wrong_body_is_cut_and_nothing_is_kept() {
    for stated in [true, false] {
        let mut scene = Scene::with(LARGE, |info| {
            if !stated {
                (info.file_hash, info.file_size) = (None, None);
            }
        })
        .await;
        let (file, length) = (scene.file.clone(), scene.file.len());
        let flipped = |position: usize| {
            let mut bytes = file.clone();
            bytes[position] ^= 1;
            Reply::Bytes(bytes)
        };
        let cut = Reply::Cut { bytes: file.clone(), after: length / 2 };
        let lies = [
            ("a byte at the end", flipped(length - 1)),
            ("a byte at the start", flipped(20)),
            ("a byte in the middle", flipped(length / 2)),
            ("too short", Reply::Unannounced(file[..length - 1].to_vec())),
            ("too long", Reply::Unannounced([&file[..], b"x"].concat())),
            ("broken off", Reply::Then(vec![cut], Box::new(Reply::Status(500)))),
            ("for ever", Reply::Endless),
        ];
        for (what, lie) in lies {
            scene.set(lie);
            // Another process, so that what was wrong before is asked for again.
            scene.site = Site::new(&[source(&scene.upstream, &scene.cache.keys(), 40)]);
            scene.site.found(&scene.path).await;
            match scene.site.get(&scene.info).await {
                Got::Whole(bytes) => panic!("{what}, stated {stated}: {} bytes ended well", bytes.len()),
                Got::Cut(_) | Got::Failed => {}
                Got::Missing => panic!("{what} is not a no"),
            }
            scene.site.settled().await;
            scene.holds(false);
        }
        // What was wrong is left alone for a while, and the next good source is used.
        scene.set(flipped(length - 1));
        let second = Upstream::of(&scene.cache).await;
        let keys = scene.cache.keys();
        scene.site = Site::new(&[source(&scene.upstream, &keys, 10), source(&second, &keys, 40)]);
        scene.site.found(&scene.path).await;
        scene.nars_asked();
        let first = scene.site.get(&scene.info).await;
        let gone_on = first == Got::Whole(file.clone());
        assert!(gone_on || matches!(first, Got::Cut(_)), "stated {stated}");
        scene.site.settled().await;
        assert_eq!(scene.nars_asked(), 1);
        if !scene.site.tree.holds(&scene.path.hash_part()) {
            assert!(scene.site.get(&scene.info).await == Got::Whole(file.clone()));
            scene.site.settled().await;
        }
        assert_eq!(scene.nars_asked(), 0, "the liar is not asked again");
        scene.holds(true);
    }
}

#[tokio::test]
async fn a_small_lie_costs_the_client_nothing() {
    let mut scene = Scene::of_size(3000).await;
    let mut bytes = scene.file.clone();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    scene.set(Reply::Bytes(bytes));
    let (second, keys) = (Upstream::of(&scene.cache).await, scene.cache.keys());
    scene.site = Site::new(&[source(&scene.upstream, &keys, 10)]);
    scene.site.found(&scene.path).await;
    assert_eq!(scene.site.get(&scene.info).await, Got::Failed);
    let refused = (scene.path.to_string(), RefusalReason::FileHash, scene.upstream.url().to_owned());
    assert_eq!(scene.site.refused(), [refused]);
    // Where another upstream gives it, it is not refused.
    scene.site = Site::new(&[source(&scene.upstream, &keys, 10), source(&second, &keys, 40)]);
    scene.site.found(&scene.path).await;
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.site.settled().await;
    scene.holds(true);
    assert_eq!(scene.site.refused(), []);
}

/// The same file at two upstreams goes on where it broke off; another one does not.
#[tokio::test]
async fn a_transfer_goes_on_elsewhere_only_with_the_same_file() {
    let mut scene = Scene::of_size(LARGE).await;
    let cut = Reply::Cut { bytes: scene.file.clone(), after: LARGE / 2 };
    let keys = scene.cache.keys();
    let second = Upstream::of(&scene.cache).await;
    // Each resumption at the first brings nothing more.
    scene.set(Reply::Then(vec![cut.clone()], Box::new(Reply::Status(500))));
    scene.site = Site::new(&[source(&scene.upstream, &keys, 10), source(&second, &keys, 40)]);
    scene.site.found(&scene.path).await;
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()), "the second goes on");
    scene.site.settled().await;
    scene.holds(true);

    // One NAR, compressed otherwise, and no word of the FileHash: clients who saw the first cannot go on.
    let mut scene = Scene::with(LARGE, |info| (info.file_hash, info.file_size) = (None, None)).await;
    let second = Upstream::of(&scene.cache).await;
    scene.set(Reply::Then(vec![cut], Box::new(Reply::Status(500))));
    let keys = scene.cache.keys();
    scene.site = Site::new(&[source(&scene.upstream, &keys, 10), source(&second, &keys, 40)]);
    scene.site.found(&scene.path).await;
    assert!(matches!(scene.site.get(&scene.info).await, Got::Cut(_)));
    scene.site.settled().await;
    scene.holds(true);
}

#[tokio::test]
async fn a_file_that_nobody_has_is_missing_and_one_that_nobody_gives_is_not() {
    let mut scene = Scene::of_size(3000).await;
    scene.set(Reply::Status(404));
    assert_eq!(scene.site.get(&scene.info).await, Got::Missing);
    scene.set(Reply::Status(503));
    assert_eq!(scene.site.get(&scene.info).await, Got::Failed);
    scene.set(Reply::Bytes(scene.file.clone()));
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()), "neither is remembered");
}
