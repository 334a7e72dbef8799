//! What upstreams call their NAR files, and what their narinfos leave out.

use granary_nix::{Compression, Hash, NarInfo, served_nar_name};

use crate::clean;
use crate::common::cache::nar;
use crate::common::{Cache, Reply, Upstream, job, mirror, source};

/// Takes an artifact whose narinfo says where its NAR file is in this way, and what that is called at the upstream.
async fn taken(change: impl Fn(&NarInfo) -> (String, String), text: impl Fn(&NarInfo) -> String) {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let artifact = cache.get(&path).clone();
    let (upstream, directory) = (Upstream::start().await, tempfile::tempdir().unwrap());
    let (url, name) = change(&artifact.info);
    let url = url.replace("UPSTREAM", upstream.url());
    upstream.set(&name, Reply::Bytes(artifact.file));
    let info = NarInfo { url, ..artifact.info };
    let text = text(&info);
    upstream.set(&path.hash_part().narinfo_name(), Reply::Bytes(text.clone().into_bytes()));
    let (tree, syncer) = mirror(directory.path());
    let outcome = syncer.pass(&job(vec![source(&upstream, &cache.keys(), 40)], &[&path]), &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{text}\n{outcome:#?}");
    // Whatever they call it, here it has its FileHash's name, and the narinfo says all.
    let published = tree.published_narinfo(&path.hash_part()).unwrap();
    let expected = cache.get(&path).info.clone();
    assert_eq!(published, expected);
    clean(directory.path(), &cache.keys());
}

async fn named(url: &str, name: &str) {
    taken(|_| (url.into(), name.into()), NarInfo::to_text).await;
}

#[tokio::test]
async fn an_absolute_url_below_the_upstream() {
    named("UPSTREAM/nar/x.nar.xz", "nar/x.nar.xz").await;
}

#[tokio::test]
async fn a_url_with_a_query() {
    named("nar/x.nar.xz?hash=1b8m03r6&id=7", "nar/x.nar.xz?hash=1b8m03r6&id=7").await;
    named("download?file=../x", "download?file=../x").await;
}

#[tokio::test]
async fn a_url_that_is_a_uuid() {
    named("nar/0a5f5a6e-1c8e-4c1e-8c1b-5d9f3a4b7e21.nar", "nar/0a5f5a6e-1c8e-4c1e-8c1b-5d9f3a4b7e21.nar")
        .await;
}

#[tokio::test]
async fn a_url_with_percent_codes_and_characters_beyond_ascii() {
    named("nar/a%20b%2Bc%2Fd.nar.xz", "nar/a%20b%2Bc%2Fd.nar.xz").await;
    named("nar/é.nar.xz", "nar/%C3%A9.nar.xz").await;
    named("nar/a:b@c.nar.xz#fragment", "nar/a:b@c.nar.xz").await;
}

#[tokio::test]
async fn a_file_named_by_its_nar_hash_with_nothing_stated_about_it() {
    taken(
        |info| {
            let name = format!("nar/{}.nar.xz", info.nar_hash.to_nix32());
            (name.clone(), name)
        },
        |info| NarInfo { file_hash: None, file_size: None, ..info.clone() }.to_text(),
    )
    .await;
}

#[tokio::test]
async fn either_of_file_hash_and_file_size_may_be_absent() {
    let same = |info: &NarInfo| (info.url.clone(), info.url.clone());
    taken(same, |info| NarInfo { file_hash: None, ..info.clone() }.to_text()).await;
    taken(same, |info| NarInfo { file_size: None, ..info.clone() }.to_text()).await;
}

#[tokio::test]
async fn hashes_in_hex() {
    let same = |info: &NarInfo| (info.url.clone(), info.url.clone());
    taken(same, |info| {
        let hex = |text: String, hash: Hash| {
            assert!(text.contains(&hash.to_string()));
            text.replace(&hash.to_string(), &format!("sha256:{}", hash.to_hex()))
        };
        hex(hex(info.to_text(), info.nar_hash), info.file_hash.unwrap())
    })
    .await;
}

/// ncps wants them to be equal.
#[tokio::test]
async fn a_file_that_is_not_compressed_has_the_hash_and_the_size_of_its_nar() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let nar = nar(b"contents");
    let hash = Hash::of(&nar);
    let artifact = cache.get(&path);
    artifact.info = NarInfo {
        url: "nar/x.nar".into(),
        compression: Compression::None,
        file_hash: None,
        file_size: None,
        nar_hash: hash,
        nar_size: nar.len() as u64,
        ..artifact.info.clone()
    };
    artifact.file = nar;
    cache.sign(&path);
    let (upstream, directory) = (Upstream::of(&cache).await, tempfile::tempdir().unwrap());
    let (tree, syncer) = mirror(directory.path());
    let outcome = syncer.pass(&job(vec![source(&upstream, &cache.keys(), 40)], &[&path]), &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{outcome:#?}");
    let published = tree.published_narinfo(&path.hash_part()).unwrap();
    assert_eq!((published.file_hash, published.file_size), (Some(hash), Some(published.nar_size)));
    assert_eq!(published.url, served_nar_name(hash, Compression::None));
    clean(directory.path(), &cache.keys());
}
