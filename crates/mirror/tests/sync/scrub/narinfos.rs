//! Narinfos that rot: there are two of each, in the tree and in the catalog.

use granary_nix::{Hash, NarInfo};

use super::*;
use crate::common::make_unreadable;

#[tokio::test]
async fn rotten_narinfos_are_written_again_from_each_other() {
    let site = Site::new().await;
    let (published, catalog) = (site.narinfo(&site.library), site.in_catalog(&site.library));
    let text = fs::read_to_string(&published).unwrap();
    site.upstream.take_asked();
    for (path, kind) in [(&published, "narinfo"), (&catalog, "catalog")] {
        for rotten in ["rotten".to_owned(), text.replace("NarSize: ", "NarSize: 1"), String::new()] {
            fs::write(path, &rotten).unwrap();
            assert_eq!(site.scrub().await, [(kind, false)], "{rotten}");
            assert_eq!(fs::read_to_string(path).unwrap(), text);
        }
    }
    assert_eq!(site.upstream.take_asked(), [], "nobody was asked for that");
    fs::write(&published, "rotten").unwrap();
    fs::write(&catalog, "rotten").unwrap();
    assert_eq!(site.scrub().await, [("narinfo", true), ("catalog", true)]);
    assert!(!published.exists() && !catalog.exists(), "rather none than a bad one");
    site.repaired().await;
    assert_eq!(fs::read_to_string(&published).unwrap(), text);
}

#[tokio::test]
async fn an_unreadable_narinfo_is_put_right_from_the_other_one() {
    let site = Site::new().await;
    let app = site.app.clone();
    for path in [site.narinfo(&app), site.in_catalog(&app)] {
        make_unreadable(&path);
        let rotten = site.scrub().await;
        assert!(matches!(rotten[..], [(_, false)]), "{rotten:?}");
        assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 2);
    }
}

#[tokio::test]
async fn a_tree_with_an_unreadable_narinfo_opens_and_a_pass_gets_that_again() {
    let site = Site::new().await;
    let Site { cache, upstream: _upstream, directory, tree, syncer, job, library: _, app } = site;
    drop((tree, syncer));
    make_unreadable(&directory.path().join(app.hash_part().narinfo_name()));
    let (tree, syncer) = mirror(directory.path());
    assert_eq!(tree.totals().artifacts, 1);
    assert!(syncer.pass(&job, &()).await.is_synced());
    assert_eq!(clean(directory.path(), &cache.keys()).artifacts, 2);
}

#[tokio::test]
async fn the_catalog_names_the_file_that_is_here_whatever_a_narinfo_says_of_its_own() {
    let site = Site::new().await;
    let hash = site.library.hash_part();
    let ours = site.tree.catalog_narinfo(&hash).unwrap();
    let packed_anew = NarInfo { file_hash: Some(Hash::of(b"packed anew")), ..ours.clone() };
    site.tree.put_in_catalog([&packed_anew]).unwrap();
    assert_eq!(site.tree.catalog_narinfo(&hash).unwrap(), ours);
}
