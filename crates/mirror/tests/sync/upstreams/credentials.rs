//! Credentials: sent to their upstream, read anew, told to nobody else.

use std::fs;
use std::path::PathBuf;

use granary_fetch::access::{Access, Credentials};
use granary_fetch::watch::Asked;
use granary_fetch::{Fetcher, Source};

use crate::common::{Cache, Reply, Upstream, fetcher, job, mirror, source};
use crate::is_visible;

const SECRET: &str = "s3cret-t0ken";

/// An upstream that answers only who knows the secret.
async fn guarded(cache: &Cache) -> Upstream {
    let upstream = Upstream::start().await;
    for artifact in &cache.artifacts {
        let narinfo = artifact.info.to_text().into_bytes();
        for (path, bytes) in [
            (artifact.info.store_path.hash_part().narinfo_name(), narinfo),
            (artifact.info.url.clone(), artifact.file.clone()),
        ] {
            upstream.set(&path, Reply::For(format!("Bearer {SECRET}"), Box::new(Reply::Bytes(bytes))));
        }
    }
    upstream
}

fn with(credentials: Credentials, source: Source) -> Source {
    Source { access: Access { credentials: Some(credentials), ..Access::default() }, ..source }
}

/// A file with a secret in it.
fn secret(directory: &tempfile::TempDir, text: &str) -> PathBuf {
    let path = directory.path().join("secret");
    fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn a_secret_opens_its_upstream_and_is_told_nobody_to_whom_that_leads() {
    let mut cache = Cache::new("test-1");
    let (here, moved) = (cache.add("here", &[]), cache.add("moved", &[]));
    let (upstream, elsewhere) = (guarded(&cache).await, Upstream::start().await);
    let artifact = cache.get(&moved).clone();
    let url = &artifact.info.url;
    let there = Reply::Redirect(format!("{}/there?signature=x", elsewhere.url()));
    upstream.set(url, Reply::For(format!("Bearer {SECRET}"), Box::new(there)));
    // And back again: the way back goes through a stranger, but it ends at the upstream.
    elsewhere.set("there?signature=x", Reply::Redirect(format!("{}/back", upstream.url())));
    upstream
        .set("back", Reply::For(format!("Bearer {SECRET}"), Box::new(Reply::Bytes(artifact.file.clone()))));

    let (directory, secrets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_tree, syncer) = mirror(directory.path());
    let credentials = Credentials::Bearer(secret(&secrets, SECRET));
    let source = with(credentials, source(&upstream, &cache.keys(), 40));
    let outcome = syncer.pass(&job(vec![source], &[&here, &moved]), &()).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    assert!(is_visible(directory.path(), &here) && is_visible(directory.path(), &moved));
    let asked = elsewhere.take_asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization, None, "a stranger is not told");
    let to_upstream = upstream.take_asked();
    assert!(to_upstream.iter().all(|asked| asked.authorization.is_some()), "{to_upstream:?}");
}

#[tokio::test]
async fn basic_and_netrc_are_sent_as_curl_does() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    // "me:pw" in base64.
    let expected = "Basic bWU6cHc=";
    let secrets = tempfile::tempdir().unwrap();
    for (text, make) in [
        ("me:pw\n", Credentials::Basic as fn(PathBuf) -> Credentials),
        (
            "machine cache.example login x password y\nmachine 127.0.0.1 login me password pw\n",
            Credentials::Netrc,
        ),
        ("default login me password pw", Credentials::Netrc),
    ] {
        let upstream = Upstream::of(&cache).await;
        let directory = tempfile::tempdir().unwrap();
        let (_tree, syncer) = mirror(directory.path());
        let source = with(make(secret(&secrets, text)), source(&upstream, &cache.keys(), 40));
        assert!(syncer.pass(&job(vec![source], &[&path]), &()).await.is_synced());
        let asked = upstream.take_asked();
        assert!(asked.iter().all(|asked| asked.authorization.as_deref() == Some(expected)), "{asked:?}");
    }
}

#[tokio::test]
async fn a_missing_or_wrong_secret_is_the_upstreams_trouble_and_a_new_one_counts_at_once() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let upstream = guarded(&cache).await;
    let (directory, secrets) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = secrets.path().join("secret");
    let (_tree, syncer) = mirror(directory.path());
    let job =
        job(vec![with(Credentials::Bearer(file.clone()), source(&upstream, &cache.keys(), 40))], &[&path]);

    let outcome = syncer.pass(&job, &()).await;
    let report = &outcome.upstreams[0];
    let message = report.message.clone().unwrap_or_default();
    assert!(!report.ok && message.contains("credentials") && message.contains("No such file"), "{message}");
    assert_eq!(upstream.take_asked(), [], "nothing is asked without them");

    fs::write(&file, "0ld-t0ken").unwrap();
    let outcome = syncer.pass(&job, &()).await;
    let message = outcome.upstreams[0].message.clone().unwrap_or_default();
    assert!(message.contains("401"), "{message}");
    let told = format!("{outcome:?}");
    assert!(!told.contains("0ld-t0ken"), "{told}");

    // Rotated: no restart, and no other fetcher.
    fs::write(&file, SECRET).unwrap();
    let outcome = syncer.pass(&job, &()).await;
    assert!(outcome.is_synced() && outcome.upstreams[0].ok, "{outcome:#?}");
}

#[tokio::test]
async fn no_secret_is_in_what_can_be_printed() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let upstream = Upstream::of(&cache).await;
    let secrets = tempfile::tempdir().unwrap();
    let source = with(Credentials::Bearer(secret(&secrets, SECRET)), source(&upstream, &cache.keys(), 40));
    let fetcher: Fetcher = fetcher();
    assert!(fetcher.narinfo(&source, &path.hash_part()).await.unwrap().is_some());
    let url = source.url.join(&path.hash_part().narinfo_name()).unwrap();
    let answer = fetcher.get(&source, Asked::NarInfo, url, &[]).await.unwrap();
    let printed = format!("{source:?} {fetcher:?} {answer:?}");
    assert!(!printed.contains(SECRET), "{printed}");
    assert_eq!(upstream.take_asked()[0].authorization.as_deref(), Some(&*format!("Bearer {SECRET}")));
}
