//! NAR files that rot: found, set aside, and brought again.

use granary_fetch::{Source, SourceKind};
use granary_placement::report::RefusalReason;

use super::*;
use crate::common::Reply;
use crate::is_visible;

#[tokio::test]
async fn a_flipped_bit_is_found_and_repaired_while_referrers_stay() {
    let mut site = Site::new().await;
    let (library, app) = (site.library.clone(), site.app.clone());
    let nar = site.nar(&library);
    let good = fs::read(&nar).unwrap();
    let mut bad = good.clone();
    bad[50_000] ^= 0x10;
    fs::write(&nar, &bad).unwrap();
    assert!(site.syncer.pass(&site.job, &()).await.published == 0, "a pass does not read what is there");

    assert_eq!(site.scrub().await, [("nar", true)]);
    assert!(!nar.exists() && !is_visible(site.path(), &library), "nobody gets the bad bytes any more");
    assert!(
        is_visible(site.path(), &app) && site.in_catalog(&library).exists(),
        "its narinfo is still answered"
    );
    let record = site.tree.quarantined(&library.hash_part()).unwrap();
    assert_eq!(record.refusal.reason, RefusalReason::FileHash);
    assert_eq!(record.refusal.store_path, library.to_string());
    let kept = site.path().join(".granary/quarantine").join(nar.file_name().unwrap());
    assert_eq!(fs::read(kept).unwrap(), bad, "kept for people to look at");
    assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 1);

    site.upstream.take_asked();
    site.repaired().await;
    assert_eq!(fs::read(&nar).unwrap(), good);
    assert!(site.upstream.take_asked().iter().any(|asked| nar.ends_with(&asked.path)));
    assert!(site.tree.quarantined(&library.hash_part()).is_none());
}

#[tokio::test]
async fn rot_is_repaired_from_another_mirror_while_the_upstream_is_away() {
    let mut site = Site::new().await;
    let (library, nar) = (site.library.clone(), site.nar(&site.library.clone()));
    let good = fs::read(&nar).unwrap();
    let other = Upstream::of(&site.cache).await;
    let peer = Source { kind: SourceKind::Mirror, ..source(&other, &site.cache.keys(), 0) };
    site.job.sources.push(peer);
    for artifact in &site.cache.artifacts {
        let info = &artifact.info;
        for name in [info.store_path.hash_part().narinfo_name(), info.url.clone()] {
            site.upstream.set(&name, Reply::Status(503));
        }
    }
    flip(&nar, 50_000);
    assert_eq!(site.scrub().await, [("nar", true)]);
    assert!(!nar.exists() && !is_visible(site.path(), &library));
    other.take_asked();
    // Whether the upstream has something newer is not known: what is here is repaired all the same.
    let outcome = site.syncer.pass(&site.job, &()).await;
    assert!(!outcome.refused.iter().any(|refusal| refusal.store_path == library.to_string()), "{outcome:#?}");
    assert_eq!(fs::read(&nar).unwrap(), good);
    let asked = other.take_asked();
    assert!(asked.iter().any(|asked| nar.ends_with(&asked.path) && asked.hop), "{asked:?}");
    assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 2);
    assert_eq!(site.scrub().await, [], "nothing is rotten any more");
}

#[tokio::test]
async fn files_that_are_cut_gone_or_no_files_are_found() {
    let mut site = Site::new().await;
    let library = site.library.clone();
    let nar = site.nar(&library);
    let good = fs::read(&nar).unwrap();
    fs::write(&nar, &good[..70_000]).unwrap();
    assert_eq!(site.scrub().await, [("nar", true)]);
    site.repaired().await;
    fs::remove_file(&nar).unwrap();
    assert_eq!(site.scrub().await, [("nar", true)]);
    site.repaired().await;
    // Reading a directory fails as reading a bad disk does: with an error, and not with other bytes.
    fs::remove_file(&nar).unwrap();
    fs::create_dir(&nar).unwrap();
    assert_eq!(site.scrub().await, [("nar", true)]);
    let record = site.tree.quarantined(&library.hash_part()).unwrap();
    assert_eq!(record.refusal.reason, RefusalReason::Disk);
    fs::remove_dir(&nar).unwrap();
    site.repaired().await;
}

#[tokio::test]
async fn a_key_that_is_trusted_no_longer_is_no_rot() {
    let site = Site::new().await;
    let seen = Seen { rounds: Mutex::new(2), ..Seen::default() };
    let other = Cache::new("other-1").keys();
    Scrubber::open(Arc::clone(&site.tree), &other, FAST).run(&seen, seen.stop.clone()).await;
    assert_eq!(*seen.rotten.lock().unwrap(), []);
    assert_eq!(clean(site.path(), &site.cache.keys()).artifacts, 2);
}
