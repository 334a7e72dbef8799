//! Narinfos that are unusual and not wrong, and those that only look so.

use std::io::Read as _;

use granary_nix::{Compression, Hash, NarInfo, StorePath};
use granary_placement::report::RefusalReason;

use super::common::cache::nar;
use super::common::{Cache, Reply, Upstream};
use super::mirrored::Mirrored;
use super::reason;

/// The narinfo as the upstream has it, with something changed in its text.
fn serve_as(cache: &mut Cache, upstream: &Upstream, path: &StorePath, change: impl FnOnce(String) -> String) {
    let text = change(cache.get(path).info.to_text());
    upstream.set(&path.hash_part().narinfo_name(), Reply::Bytes(text.into_bytes()));
}

#[tokio::test]
async fn a_line_with_two_thousand_mirrors_does_no_harm_and_is_not_passed_on() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let mut site = Mirrored::of(cache).await;
    let urls: Vec<_> = (0..2000).map(|number| format!("https://mirror-{number}.example/cache")).collect();
    serve_as(&mut site.cache, &site.upstream, &path, |text| format!("{text}Mirrors: {}\n", urls.join(" ")));
    let outcome = site.pass(&[&path]).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    let text = std::fs::read_to_string(site.path().join(path.hash_part().narinfo_name())).unwrap();
    assert!(!text.contains("Mirrors"), "{text}");
    site.clean();
}

#[tokio::test]
async fn without_a_compression_a_file_is_bzip2_and_nothing_else() {
    let mut cache = Cache::new("test-1");
    let (old, wrong) = (cache.add("old", &[]), cache.add("wrong", &[]));
    let archive = nar(b"from before there was xz");
    let mut file = Vec::new();
    bzip2::read::BzEncoder::new(&archive[..], bzip2::Compression::best()).read_to_end(&mut file).unwrap();
    let artifact = cache.get(&old);
    artifact.info = NarInfo {
        url: "nar/old.nar".into(),
        compression: Compression::Bzip2,
        file_hash: Some(Hash::of(&file)),
        file_size: Some(file.len() as u64),
        nar_hash: Hash::of(&archive),
        nar_size: archive.len() as u64,
        ..artifact.info.clone()
    };
    artifact.file.clone_from(&file);
    cache.sign(&old);
    let mut site = Mirrored::of(cache).await;
    serve_as(&mut site.cache, &site.upstream, &old, |text| text.replace("Compression: bzip2\n", ""));
    serve_as(&mut site.cache, &site.upstream, &wrong, |text| text.replace("Compression: xz\n", ""));

    let outcome = site.pass(&[&old, &wrong]).await;
    // What is published says it, for who would guess otherwise.
    let text = std::fs::read_to_string(site.path().join(old.hash_part().narinfo_name())).unwrap();
    let published = NarInfo::parse(text.as_bytes()).unwrap();
    assert!(text.contains("\nCompression: bzip2\n") && published.url.ends_with(".nar.bz2"), "{text}");
    assert_eq!(std::fs::read(site.path().join(&published.url)).unwrap(), file);
    // Nix 2.8 guesses that this is xz; from 2.26 on every Nix fails on it, and so would a client of ours.
    assert_eq!(reason(&outcome, &wrong), Some(RefusalReason::NarHash), "{outcome:#?}");
    assert!(outcome.refused[0].message.contains("as bzip2"), "{:?}", outcome.refused);
    assert!(!site.is_visible(&wrong));
    assert_eq!(site.clean().artifacts, 1);
}
