//! What a transfer that was ended leaves for the next one.

use granary_mirror::through::Begun;

use super::{Got, LARGE, Scene, Site, source};
use crate::common::Reply;

/// The file that is kept of a NAR file that came in part.
fn part(scene: &Scene) -> std::path::PathBuf {
    let name = scene.info.file_hash.unwrap().to_nix32();
    scene.site.path().join(".granary/partial").join(name)
}

/// The ranges by which the file was asked for.
fn ranges(scene: &mut Scene) -> Vec<Option<String>> {
    let url = scene.cache.get(&scene.path).info.url.clone();
    let asked = scene.upstream.take_asked().into_iter().filter(|asked| asked.path == url);
    asked.map(|asked| asked.range).collect()
}

#[tokio::test]
async fn a_flight_that_a_restart_ended_is_gone_on_with_where_it_was() {
    const PART: usize = 2 << 20;
    let mut scene = Scene::of_size(LARGE).await;
    scene.set(Reply::Stall(scene.file[..PART].to_vec()));
    let sources = [source(&scene.upstream, &scene.cache.keys(), 40)];
    let patient = |directory| Site::on(directory, &sources, 1 << 30, std::time::Duration::from_mins(1));
    let directory = std::sync::Arc::clone(&scene.site.directory);
    scene.site.settled().await;
    drop(scene.site);
    scene.site = patient(std::sync::Arc::clone(&directory));
    scene.site.found(&scene.path).await;
    let mut reader = scene.site.open(&scene.info);
    assert!(matches!(reader.begin().await, Begun::File { .. }));
    let part = part(&scene);
    while std::fs::metadata(&part).unwrap().len() < PART as u64 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    scene.site.stop.cancel();
    scene.site.settled().await;
    assert_eq!(ranges(&mut scene), [None]);

    scene.set(Reply::Bytes(scene.file.clone()));
    drop(scene.site);
    scene.site = patient(directory);
    scene.site.found(&scene.path).await;
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.site.settled().await;
    assert_eq!(ranges(&mut scene), [Some(format!("bytes={PART}-"))]);
    scene.holds(true);
    assert!(!part.exists());
}

#[tokio::test]
async fn a_part_that_is_wrong_is_found_out_and_nobody_gets_the_rest_after_it() {
    let mut scene = Scene::of_size(LARGE).await;
    std::fs::write(part(&scene), vec![7; 2 << 20]).unwrap();
    match scene.site.get(&scene.info).await {
        Got::Whole(bytes) => assert!(bytes == scene.file, "wrong bytes ended well"),
        got => assert!(matches!(got, Got::Cut(_)), "{got:?}"),
    }
    scene.site.settled().await;
    assert_eq!(ranges(&mut scene), [Some(format!("bytes={}-", 2 << 20)), None]);
    assert!(scene.site.get(&scene.info).await == Got::Whole(scene.file.clone()));
    scene.holds(true);
}
