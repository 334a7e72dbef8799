//! One transfer, and what comes of it for all who want it.

use granary_mirror::through::Begun;
use granary_nix::{Hash, NarInfo};

use super::{Got, LARGE, Scene, Site, read, source};
use crate::common::{Reply, SILENCE};

#[tokio::test]
async fn dozens_of_clients_are_one_transfer_which_is_kept() {
    let mut scene = Scene::of_size(LARGE).await;
    let readers: Vec<_> = (0..50).map(|_| scene.site.open(&scene.info)).collect();
    for got in futures::future::join_all(readers.into_iter().map(|reader| read(reader, None))).await {
        assert!(got == Got::Whole(scene.file.clone()), "the bytes of the file");
    }
    scene.site.settled().await;
    // Who was told by nginx, a moment before, that it is not here.
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.site.settled().await;
    assert_eq!(scene.nars_asked(), 1);
    scene.holds(true);
}

#[tokio::test]
async fn a_small_file_and_one_without_a_stated_hash_are_kept_too() {
    for (size, stated) in [(3000, true), (3000, false), (LARGE, false)] {
        let scene = Scene::with(size, |info| {
            if !stated {
                (info.file_hash, info.file_size, info.url) = (None, None, "files/7".into());
            }
        })
        .await;
        assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()), "{size} {stated}");
        scene.site.settled().await;
        scene.holds(true);
    }
}

#[tokio::test]
async fn who_leaves_ends_nothing_and_who_is_slow_holds_nobody_up() {
    let scene = Scene::of_size(LARGE).await;
    let mut slow = scene.site.open(&scene.info);
    slow.begin().await;
    let slow = slow.body(None);
    drop(scene.site.open(&scene.info));
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.site.settled().await;
    scene.holds(true);
    // It has not read a byte, and still gets them all, of the file that is published by now.
    let slow: Vec<bytes::Bytes> = futures::TryStreamExt::try_collect(slow).await.unwrap();
    assert!(slow.concat() == scene.file);
}

#[tokio::test]
async fn a_part_is_served_while_the_file_is_fetched() {
    let scene = Scene::of_size(LARGE).await;
    let size = scene.file.len() as u64;
    for part in [0..10, 1_000_000..1_500_000, size - 10..size, 5..size] {
        let range = usize::try_from(part.start).unwrap()..usize::try_from(part.end).unwrap();
        let got = read(scene.site.open(&scene.info), Some(part.clone())).await;
        assert!(got == Got::Whole(scene.file[range].to_vec()), "{part:?}");
    }
}

#[tokio::test]
async fn a_large_file_is_passed_on_while_it_comes() {
    let mut scene = Scene::of_size(LARGE).await;
    scene.set(Reply::Stall(scene.file[..2 << 20].to_vec()));
    let mut reader = scene.site.open(&scene.info);
    assert!(matches!(reader.begin().await, Begun::File { .. }));
    let mut body = std::pin::pin!(reader.body(None));
    let chunk = futures::TryStreamExt::try_next(&mut body).await.unwrap().unwrap();
    assert!(scene.file.starts_with(&chunk));
}

#[tokio::test]
async fn what_is_larger_than_the_room_is_not_taken_in() {
    let scene = Scene::of_size(LARGE).await;
    is_not_taken_in(&scene, 2 << 20).await;
    assert_eq!(Hash::of(&scene.file), scene.info.file_hash.unwrap());
}

#[tokio::test]
async fn what_compression_may_make_larger_than_the_room_is_not_taken_in() {
    let unstated =
        |info: &mut NarInfo| (info.file_hash, info.file_size, info.url) = (None, None, "files/7".into());
    let scene = Scene::with(LARGE, unstated).await;
    assert!(scene.file.len() as u64 > scene.info.nar_size, "as xz does to noise");
    is_not_taken_in(&scene, scene.info.nar_size).await;
}

/// Where guests may have so many bytes.
async fn is_not_taken_in(scene: &Scene, max_size: u64) {
    let site = Site::with(&[source(&scene.upstream, &scene.cache.keys(), 40)], max_size, SILENCE);
    site.found(&scene.path).await;
    let file = scene.info.url.strip_prefix("nar/").unwrap();
    let known = site.through.find_nar(file).unwrap();
    assert!(site.through.open(file, known).is_none());
}
