//! An artifact of cache.nixos.org, byte for byte, against its real key.

use std::fs;
use std::path::PathBuf;

use granary_nix::{NarInfo, PublicKeys, StorePath};

use super::common::{Cache, Reply, Upstream, job, mirror, source};
use super::{clean, is_visible};

const KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
const NARINFO: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la.narinfo";

/// The fixture; `None`, with a word about it, where there is none and none is required.
fn fixture() -> Option<PathBuf> {
    let path = std::env::var_os("GRANARY_FIXTURES")
        .map(|fixtures| PathBuf::from(fixtures).join("nars/cache.nixos.org-byte-exact"))
        .filter(|path| path.is_dir());
    if path.is_none() {
        println!("skipped: GRANARY_FIXTURES does not name the shared fixtures");
    }
    path
}

#[tokio::test]
async fn a_real_artifact_is_verified_by_its_real_key() {
    let Some(fixture) = fixture() else { return };
    let text = fs::read(fixture.join(NARINFO)).unwrap();
    let info = NarInfo::parse(&text).unwrap();
    let upstream = Upstream::start().await;
    upstream.set(NARINFO, Reply::Bytes(text));
    upstream.set(&info.url, Reply::Bytes(fs::read(fixture.join(&info.url)).unwrap()));

    // Its one reference, a glibc, is not in the fixture: with the real key alone nothing can be published.
    let real = PublicKeys::parse([KEY]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let root: StorePath = info.store_path.clone();
    let outcome = syncer.pass(&job(vec![source(&upstream, &real, 40)], &[&root]), &()).await;
    assert_eq!(outcome.refused.len(), 2, "{outcome:#?}");
    assert!(!is_visible(directory.path(), &root));

    // A stand-in for it, in a second cache with a key of its own, completes the closure.
    let mut cache = Cache::new("test-1");
    let stand_in = cache.add("stand-in", &[]);
    cache.get(&stand_in).info.store_path = info.references[0].clone();
    let stand_in = info.references[0].clone();
    cache.sign(&stand_in);
    let second = Upstream::of(&cache).await;
    let sources = vec![source(&upstream, &real, 40), source(&second, &cache.keys(), 50)];
    let outcome = syncer.pass(&job(sources, &[&root]), &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{outcome:#?}");
    let published = NarInfo::parse(&fs::read(directory.path().join(NARINFO)).unwrap()).unwrap();
    assert_eq!(published, info, "cache.nixos.org's own form is already ours");
    let both: PublicKeys = real.as_slice().iter().chain(cache.keys().as_slice()).cloned().collect();
    assert_eq!(clean(directory.path(), &both).artifacts, 2);

    // One byte of the NAR file changed, on another disk.
    let mut bytes = upstream.bytes(&info.url);
    bytes[60_000] ^= 1;
    upstream.set(&info.url, Reply::Bytes(bytes));
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let sources = vec![source(&upstream, &real, 40), source(&second, &cache.keys(), 50)];
    let outcome = syncer.pass(&job(sources, &[&root]), &()).await;
    assert_eq!(super::reason(&outcome, &root), Some(granary_placement::report::RefusalReason::FileHash));
    assert!(is_visible(directory.path(), &stand_in) && !is_visible(directory.path(), &root));
}
