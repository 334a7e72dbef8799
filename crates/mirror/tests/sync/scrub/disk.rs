//! A disk that does not give back what is on it.

use granary_placement::report::RefusalReason;

use super::*;
use crate::common::make_unreadable;
use crate::is_visible;

#[tokio::test]
async fn a_disk_that_cannot_be_read_is_not_emptied_for_it() {
    let mut cache = Cache::new("test-1");
    let paths: Vec<StorePath> = (0..12).map(|number| cache.add(&format!("p{number}"), &[])).collect();
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    let (tree, syncer) = mirror(directory.path());
    let job = job(vec![source(&upstream, &cache.keys(), 40)], &paths.iter().collect::<Vec<_>>());
    assert!(syncer.pass(&job, &()).await.is_synced());
    for path in &paths {
        let nar = directory.path().join(&cache.get(path).info.url);
        fs::remove_file(&nar).unwrap();
        fs::create_dir(&nar).unwrap();
    }
    let seen = Seen { rounds: Mutex::new(1), ..Seen::default() };
    Scrubber::open(Arc::clone(&tree), &cache.keys(), FAST).run(&seen, seen.stop.clone()).await;
    assert_eq!(seen.rotten.lock().unwrap().len(), 4);
    assert_eq!(tree.totals().artifacts, 8);
    assert!(seen.standing.lock().unwrap().as_ref().unwrap().failing.is_some(), "and it says so");
}

#[tokio::test]
async fn what_the_disk_does_not_give_back_is_rot_told_with_its_path_and_no_end_of_the_round() {
    let mut site = Site::new().await;
    let (library, app) = (site.library.clone(), site.app.clone());
    let nar = site.nar(&library);
    make_unreadable(&nar);
    make_unreadable(&site.narinfo(&app));
    make_unreadable(&site.in_catalog(&app));
    let mut rotten = site.scrub().await;
    rotten.sort_unstable();
    assert_eq!(rotten, [("catalog", true), ("nar", true), ("narinfo", true)]);
    for (artifact, path) in [(&library, &nar), (&app, &site.narinfo(&app))] {
        let refusal = site.tree.quarantined(&artifact.hash_part()).unwrap().refusal;
        assert_eq!(refusal.reason, RefusalReason::Disk);
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(refusal.message.contains(name) && refusal.message.contains("os error 5"), "{refusal:?}");
    }
    assert!(!is_visible(site.path(), &library));
    site.repaired().await;
}
