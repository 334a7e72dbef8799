//! Rot in files beside artifacts: found by the scrub, removed, and had again or made again.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use granary_mirror::extras::complete_fresh;
use granary_mirror::scrub::Suspect;
use granary_mirror::tree::Tree;
use granary_mirror::verify::verify_tree;
use granary_nix::{CacheInfo, Extra};
use tempfile::TempDir;

use super::artifacts::{BUILD_ID, debug, debug_listing, derivation};
use super::{MAKE, Scene, listing_name};
use crate::common::{Cache, Reply, Small, Upstream, make_unreadable, source};
use crate::scrub::{flip, look_at, scrub};

const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

/// An artifact with a file of each kind: their names, as a metric calls their kinds.
async fn scene() -> (Scene, [(&'static str, String); 5]) {
    scene_on(tempfile::tempdir().unwrap(), None).await
}

/// The same where something is mounted.
async fn scene_on(directory: TempDir, disk: Option<Small>) -> (Scene, [(&'static str, String); 5]) {
    let mut cache = Cache::new("test-1");
    let path = debug(&mut cache, "app-debug");
    let drv = derivation("app");
    cache.get(&path).info.deriver = Some(drv.clone());
    let upstream = Upstream::of(&cache).await;
    let sources = vec![source(&upstream, &cache.keys(), 40)];
    let scene = Scene::on(directory, disk, MAKE, (cache, upstream, sources)).await;
    let files = [
        ("listing", listing_name(&path)),
        ("log", format!("log/{}", drv.base_name())),
        ("debuginfo", format!("debuginfo/{BUILD_ID}")),
        ("realisation", format!("realisations/sha256:{HEX}!out.doi")),
        ("build-trace", format!("build-trace-v2/{}/out.doi", drv.base_name())),
    ];
    let text = format!(r#"{{"id":"sha256:{HEX}!out","outPath":"{}","signatures":[]}}"#, path.base_name());
    for (_, name) in &files[3..] {
        scene.upstream.set(name, Reply::Bytes(text.clone().into()));
    }
    scene.upstream.set(&files[1].1, Reply::Bytes(b"what the build wrote".to_vec()));
    restore(&scene, &files).await;
    (scene, files)
}

/// Everything is there, the way it comes there by itself: with its artifact, or for a client.
async fn restore(scene: &Scene, files: &[(&str, String)]) {
    complete_fresh(&scene.keeper).await;
    for (_, name) in files {
        assert_eq!(scene.ask(name).await.0, 200, "{name}");
        assert!(scene.read(name).is_some(), "{name}");
    }
}

async fn rotten(scene: &Scene) -> Vec<(&'static str, bool)> {
    scrub(&scene.tree, &scene.cache.keys()).await
}

/// Where a bit can change that leaves a file of its kind: a size, a name, a word.
fn place(text: &[u8]) -> usize {
    let of = |word: &str| text.windows(word.len()).position(|window| window == word.as_bytes());
    let found = ["\"size\":3", "/nar/1", "/nar/0", "app-debug", "wrote"]
        .into_iter()
        .find_map(|word| Some(of(word)? + word.len() - 1));
    found.unwrap_or(text.len() / 2)
}

#[tokio::test]
async fn a_flipped_bit_in_any_of_them_is_found_and_the_file_is_had_or_made_again() {
    let (scene, files) = scene().await;
    each_is_found(&scene, &files).await;
    assert!(!scene.tree.layout().checksums().exists(), "the files have them");
}

#[tokio::test]
async fn it_is_found_too_where_the_filesystem_cannot_keep_a_checksum_with_a_file() {
    if !Small::is_possible() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let disk = Small::mount_without_attributes(directory.path());
    let (scene, files) = scene_on(directory, Some(disk)).await;
    each_is_found(&scene, &files).await;
    assert!(scene.tree.layout().checksums().is_dir());

    // What was there before anything was remembered is believed once, and from then on held to it.
    fs::remove_dir_all(scene.tree.layout().checksums()).unwrap();
    let (kind, log) = &files[1];
    let good = scene.read(log).unwrap();
    flip(&scene.file(log), place(&good));
    assert_eq!(rotten(&scene).await, []);
    fs::write(scene.file(log), &good).unwrap();
    assert_eq!(rotten(&scene).await, [(*kind, false)]);
    restore(&scene, &files).await;
}

async fn each_is_found(scene: &Scene, files: &[(&'static str, String)]) {
    assert_eq!(rotten(scene).await, []);
    for (kind, name) in files {
        let good = scene.read(name).unwrap();
        flip(&scene.file(name), place(&good));
        let faults = verify_tree(scene.path(), &scene.cache.keys()).unwrap().faults;
        assert_eq!(faults.iter().map(|fault| &fault.path).collect::<Vec<_>>(), [name], "as verify says");
        assert_eq!(rotten(scene).await, [(*kind, false)], "{name}");
        assert_eq!(scene.read(name), None, "{name} is not answered any more");
        restore(scene, files).await;
        assert_eq!(scene.read(name), Some(good), "{name}");
        assert_eq!(rotten(scene).await, []);
    }
    crate::clean(scene.path(), &scene.cache.keys());
}

#[tokio::test]
async fn what_cannot_be_read_is_found() {
    let (scene, files) = scene().await;
    for (kind, name) in &files {
        let good = scene.read(name).unwrap();
        make_unreadable(&scene.file(name));
        let found = rotten(&scene).await;
        assert!(found.contains(&(*kind, false)), "{name}: {found:?}");
        restore(&scene, &files).await;
        assert_eq!(scene.read(name), Some(good), "{name}");
    }
}

#[tokio::test]
async fn what_nginx_could_not_read_is_looked_at_by_itself_and_goes() {
    let (scene, files) = scene().await;
    for (kind, name) in &files {
        let good = scene.read(name).unwrap();
        make_unreadable(&scene.file(name));
        let suspect = Suspect::Beside(Extra::parse(name).unwrap());
        assert_eq!(look_at(&scene.tree, &scene.cache.keys(), suspect).await, [(*kind, false)]);
        assert_eq!(scene.read(name), None, "{name}");
        if *kind == "debuginfo" {
            // Its name does not say whose it is: it is made again when everything is looked at.
            for hash in scene.tree.published_after(None, 10) {
                scene.keeper.complete(&hash).await;
            }
        }
        restore(&scene, &files).await;
        assert_eq!(scene.read(name), Some(good), "{name}");
    }
}

/// A copy without its attributes, as many tools make it.
fn copy(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, content).unwrap();
}

#[tokio::test]
async fn a_copy_that_has_no_checksums_gets_them_when_it_is_first_read() {
    let (scene, files) = scene().await;
    // Without one, what the NAR says of its listing is enough.
    let (_, listing) = &files[0];
    copy(&scene.file(listing));
    let moved = debug_listing().replace("824", "832");
    fs::write(scene.file(listing), moved).unwrap();
    assert_eq!(rotten(&scene).await, [("listing", false)]);
    restore(&scene, &files).await;
    for (kind, name) in &files {
        copy(&scene.file(name));
        assert_eq!(rotten(&scene).await, []);
        flip(&scene.file(name), place(&scene.read(name).unwrap()));
        assert_eq!(rotten(&scene).await, [(*kind, false)], "{name}");
        restore(&scene, &files).await;
    }
}

#[tokio::test]
async fn what_does_not_say_any_more_to_which_artifact_it_belongs_is_found_too() {
    let (scene, files) = scene().await;
    for (_, name) in &files[3..] {
        fs::write(scene.file(name), "[]").unwrap();
    }
    let (directory, keys) = (scene.directory, scene.cache.keys());
    drop((scene.tree, scene.keeper, scene.answers));
    let tree = Arc::new(Tree::open(directory.path(), &CacheInfo::default()).unwrap());
    let mut found = scrub(&tree, &keys).await;
    found.sort_unstable();
    assert_eq!(found, [("build-trace", false), ("realisation", false)]);
    assert!(files[3..].iter().all(|(_, name)| !directory.path().join(name).exists()));
}
