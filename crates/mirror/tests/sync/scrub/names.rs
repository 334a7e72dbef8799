//! What rotted, or was lost, and came again as another file: who remembers the old name gets the same NAR.

use granary_nix::Compression;

use super::*;
use crate::common::Reply;

/// The upstream packs the NAR of an artifact anew: the name of its file before.
fn repack(site: &mut Site, path: &StorePath) -> String {
    let before = site.cache.repack(path, Compression::Xz).info.url;
    site.upstream.set(&before, Reply::Status(404));
    site.cache.serve(&site.upstream);
    before.strip_prefix("nar/").unwrap().to_owned()
}

/// The old name leads to the file that is there now, as the tree says, and the one that is opened next.
fn is_answered(site: &mut Site, path: &StorePath, old: &str) {
    let now = site.nar(path);
    for tree in [None, Some(copy(site))] {
        let tree = tree.as_ref().map_or(&*site.tree, |(_, tree)| tree);
        let known = tree.find_nar(old).unwrap();
        assert_eq!(known.hash_part, path.hash_part());
        let successor = tree.successor(old, &known).unwrap();
        assert_eq!(successor, now.file_name().unwrap().to_str().unwrap());
        let other = old.replace(".xz", ".zst");
        assert!(tree.find_nar(&other).is_none(), "a name is of one compression");
    }
    assert!(now.exists());
}

/// What another process finds.
fn copy(site: &Site) -> (tempfile::TempDir, Tree) {
    let directory = tempfile::tempdir().unwrap();
    let from = format!("{}/.", site.path().display());
    let copied = std::process::Command::new("cp").args(["-a", &from]).arg(directory.path()).status().unwrap();
    assert!(copied.success());
    let tree = Tree::open(directory.path(), &granary_nix::CacheInfo::default()).unwrap();
    (directory, tree)
}

#[tokio::test]
async fn a_nar_that_rotted_and_came_as_another_file_is_found_by_its_old_name() {
    let mut site = Site::new().await;
    let library = site.library.clone();
    flip(&site.nar(&library), 50_000);
    let old = repack(&mut site, &library);
    assert_eq!(site.scrub().await, [("nar", true)]);
    assert!(site.tree.find_nar(&old).is_some(), "known while it is away");
    site.repaired().await;
    is_answered(&mut site, &library, &old);
    // And once more.
    flip(&site.nar(&library), 50_000);
    assert_eq!(site.scrub().await, [("nar", true)]);
    site.repaired().await;
    is_answered(&mut site, &library, &old);
}

#[tokio::test]
async fn a_nar_that_was_lost_and_came_as_another_file_is_found_by_its_old_name() {
    let mut site = Site::new().await;
    let library = site.library.clone();
    fs::remove_file(site.nar(&library)).unwrap();
    let old = repack(&mut site, &library);
    assert!(!site.tree.still_holds(&library.hash_part()));
    site.repaired().await;
    is_answered(&mut site, &library, &old);
}

#[tokio::test]
async fn a_nar_that_rotted_in_the_trash_and_came_as_another_file_is_found_by_its_old_name() {
    let mut site = Site::new().await;
    let app = site.app.clone();
    let trashed = site.path().join(".granary/trash/nar").join(site.nar(&app).file_name().unwrap());
    site.tree.remove(&app.hash_part()).unwrap();
    site.tree.prune_catalog(&[site.library.hash_part()].into_iter().collect()).unwrap();
    flip(&trashed, 1000);
    let old = repack(&mut site, &app);
    assert_eq!(site.scrub().await, [("trash", false)]);
    site.repaired().await;
    is_answered(&mut site, &app, &old);
}
