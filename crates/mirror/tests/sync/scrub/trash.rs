//! Rot in the trash, whose NAR files nginx answers for a month.

use axum::body::to_bytes;
use granary_mirror::agent::misses::{Misses, Sources};
use granary_mirror::metrics::Metrics;
use http::{HeaderMap, Method};

use super::*;
use crate::common::{fetcher, make_unreadable};

/// Answers what nginx finds nowhere, from this site's upstream.
pub(super) fn misses(site: &Site) -> Misses {
    // Nobody writes a map.
    let (_, map) = tokio::sync::watch::channel(None);
    let sources = Sources::new("a-0".parse().unwrap(), map, site.job.sources.clone(), fetcher());
    Misses::new(sources, Arc::new(Metrics::new().unwrap()))
}

/// What a client gets that asks the agent for a NAR file by its name.
async fn answer(site: &Site, file: &str) -> Vec<u8> {
    let known = site.tree.find_nar(file);
    let answer = misses(site).answer(&Method::GET, &HeaderMap::new(), file, known).await;
    assert_eq!(answer.status(), 200);
    to_bytes(answer.into_body(), usize::MAX).await.unwrap().into()
}

/// A site whose application is in the trash and nowhere else: the names of its NAR file.
async fn trashed() -> (Site, PathBuf, String) {
    let mut site = Site::new().await;
    let app = site.app.clone();
    let file = site.nar(&app).file_name().unwrap().to_str().unwrap().to_owned();
    site.tree.remove(&app.hash_part()).unwrap();
    site.tree.prune_catalog(&[site.library.hash_part()].into_iter().collect()).unwrap();
    let nar = site.path().join(".granary/trash/nar").join(&file);
    assert!(nar.exists() && !site.tree.in_catalog(&app.hash_part()));
    (site, nar, file)
}

#[tokio::test]
async fn a_flipped_bit_in_the_trash_is_answered_by_nobody_and_the_nar_is_had_from_elsewhere() {
    let (mut site, nar, file) = trashed().await;
    assert_eq!(site.scrub().await, []);
    let bytes = site.tree.trashed_bytes();
    flip(&nar, 1000);
    let bad = fs::read(&nar).unwrap();
    assert_eq!(site.scrub().await, [("trash", false)]);
    assert!(!nar.exists(), "nginx finds it no more");
    assert_eq!(fs::read(site.path().join(".granary/quarantine").join(&file)).unwrap(), bad);
    assert_eq!((site.tree.trashed_bytes(), bytes > 0), (0, true));
    let app = site.app.clone();
    assert!(!site.tree.is_in_trash(&app.hash_part()), "nothing is taken back from it");
    assert_eq!(answer(&site, &file).await, site.cache.get(&app).file);
    site.repaired().await;
}

#[tokio::test]
async fn a_file_of_the_trash_that_is_cut_or_cannot_be_read_is_found() {
    for cut in [true, false] {
        let (site, nar, _) = trashed().await;
        if cut {
            fs::write(&nar, &fs::read(&nar).unwrap()[..100]).unwrap();
        } else {
            make_unreadable(&nar);
        }
        assert_eq!(site.scrub().await, [("trash", false)], "{cut}");
        assert!(fs::symlink_metadata(&nar).is_err());
        site.repaired().await;
    }
}

#[tokio::test]
async fn a_rotten_narinfo_of_the_trash_goes_with_its_file_and_its_name_is_still_answered() {
    let (mut site, nar, file) = trashed().await;
    let app = site.app.clone();
    let narinfo = site.path().join(".granary/trash").join(app.hash_part().narinfo_name());
    flip(&narinfo, 20);
    assert_eq!(site.scrub().await, [("trash-narinfo", false)]);
    assert!(!narinfo.exists() && !nar.exists());
    assert_eq!(answer(&site, &file).await, site.cache.get(&app).file);
    site.repaired().await;
}
