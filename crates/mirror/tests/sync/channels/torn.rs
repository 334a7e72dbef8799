//! What rots of an artifact that no channel lists, and that something listed needs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use granary_mirror::scrub::Suspect;
use granary_mirror::sync::{Job, Roots, Syncer};
use granary_nix::StorePath;
use granary_placement::report::RefusalReason;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::clean;
use super::super::common::{Cache, fetcher};
use super::super::scrub::look_at;
use super::Site;
use super::told::Told;

/// An application that is listed, and a library that is not.
struct Scene {
    site: Site,
    library: StorePath,
    /// Its narinfo in the tree and in the catalog.
    narinfos: [PathBuf; 2],
    text: String,
}

impl Scene {
    async fn new() -> Self {
        let mut cache = Cache::new("test-1");
        let library = cache.add("library", &[]);
        let app = cache.add("app", &[&library]);
        let site = Site::new(cache, 1).await;
        site.list("1", &[&app]);
        assert!(site.round().await.complete.is_some());
        let name = library.hash_part().narinfo_name();
        let narinfos = [site.path().join(&name), site.path().join(".granary/catalog").join(&name)];
        let text = fs::read_to_string(&narinfos[0]).unwrap();
        Self { site, library, narinfos, text }
    }

    fn rot(&self, text: &str) {
        for narinfo in &self.narinfos {
            fs::write(narinfo, text).unwrap();
        }
    }

    async fn brought_again(&self) {
        self.site.round().await;
        assert!(self.site.holds(&self.library));
        for narinfo in &self.narinfos {
            assert_eq!(fs::read_to_string(narinfo).unwrap(), self.text, "{}", narinfo.display());
        }
        assert_eq!(clean(self.site.path(), &self.site.cache.keys()).artifacts, 2);
        let (tree, wants) = (self.site.tree.as_ref().unwrap(), Arc::clone(&self.site.wants));
        let policies = Syncer::new(Arc::clone(tree), fetcher()).with_guests().telling(wants);
        policies.pass(&Job { elsewhere: Some(Roots::default()), others: true, ..Job::default() }, &()).await;
        assert!(tree.quarantined(&self.library.hash_part()).is_none(), "it is good again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narinfo_that_rots_in_the_tree_and_in_the_catalog_is_set_aside_and_brought_again() {
    let scene = Scene::new().await;
    let tree = scene.site.tree.as_ref().unwrap();
    // One that is none, and one whose signature does not hold.
    for rotten in ["rotten", &scene.text.replace("NarSize: ", "NarSize: 1")] {
        scene.rot(rotten);
        let suspect = Suspect::Artifact(scene.library.hash_part());
        // Both at once: what is brought again is written only where nothing is.
        let found = look_at(tree, &scene.site.cache.keys(), suspect).await;
        assert_eq!(found, [("narinfo", true), ("catalog", true)], "{rotten}");
        assert!(scene.narinfos.iter().all(|narinfo| !narinfo.exists()), "rather none than a bad one");
        let record = tree.quarantined(&scene.library.hash_part()).unwrap();
        assert_ne!(record.refusal.reason, RefusalReason::NotFound);
        assert_eq!(record.refusal.source, "this disk");
        scene.brought_again().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rotted_while_the_mirror_was_stopped_is_brought_again_without_a_scrub() {
    let mut scene = Scene::new().await;
    scene.rot("rotten");
    scene.site.open();
    assert!(!scene.site.holds(&scene.library));
    scene.brought_again().await;
    for narinfo in &scene.narinfos {
        fs::remove_file(narinfo).unwrap();
    }
    scene.site.open();
    scene.brought_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rotted_under_something_listed_is_brought_again_when_the_round_is_woken() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let app = cache.add("app", &[&base]);
    let mut site = Site::new(cache, 1).await;
    site.list("1", &[&app]);
    assert!(site.round().await.complete.is_some());
    let url = site.cache.get(&base).info.url.clone();
    let nar = site.path().join(url);
    let (wake, stop) = (Notify::new(), CancellationToken::new());
    let (channels, told) = (site.channels.as_ref().unwrap(), Told::default());
    let run = channels.run(Duration::from_hours(1), true, &told, &wake, &stop);
    let rot = async {
        let tree = site.tree.as_ref().unwrap();
        told.ended.notified().await;
        fs::remove_file(&nar).unwrap();
        tree.forget(&base.hash_part());
        wake.notify_one();
        told.ended.notified().await;
        stop.cancel();
    };
    tokio::time::timeout(Duration::from_mins(1), async { tokio::join!(run, rot) }).await.unwrap();
    assert!(nar.exists() && site.holds(&base) && site.holds(&app));
}
