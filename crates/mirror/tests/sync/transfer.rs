//! Trouble on the way that a sync gets through.

use std::time::Instant;

use granary_fetch::{Source, SourceKind, WebError};

use super::common::upstream::Asked;
use super::common::{Cache, PATIENCE, Reply, SILENCE, Upstream, job, mirror, source, web_client};
use super::mirrored::Mirrored;
use super::{clean, is_visible};

/// Ranges asked for `path`.
fn ranges(asked: &[Asked], path: &str) -> Vec<Option<String>> {
    asked.iter().filter(|asked| asked.path == path).map(|asked| asked.range.clone()).collect()
}

#[tokio::test]
async fn failures_that_pass_are_waited_out() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let mut site = Mirrored::of(cache).await;
    let artifact = site.cache.get(&path).clone();
    for name in [path.hash_part().narinfo_name(), artifact.info.url.clone()] {
        let good = Reply::Bytes(site.upstream.bytes(&name));
        site.upstream.set(&name, Reply::Then(vec![Reply::Status(503), Reply::Status(500)], Box::new(good)));
    }
    let outcome = site.pass(&[&path]).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    assert!(outcome.upstreams[0].ok);
    assert_eq!(site.clean().artifacts, 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_resumed_where_it_broke() {
    let mut cache = Cache::new("test-1");
    let path = cache.add_sized("a", &[], 100_000);
    let mut site = Mirrored::of(cache).await;
    let artifact = site.cache.get(&path).clone();
    site.upstream.set(&artifact.info.url, Reply::Cut { bytes: artifact.file.clone(), after: 40_000 });
    let outcome = site.pass(&[&path]).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    let expected = [None, Some("bytes=40000-".to_owned()), Some("bytes=80000-".to_owned())];
    assert_eq!(ranges(&site.upstream.take_asked(), &artifact.info.url), expected);
    site.clean();
}

#[tokio::test]
async fn without_ranges_it_begins_again() {
    let mut cache = Cache::new("test-1");
    let path = cache.add_sized("a", &[], 100_000);
    let mut site = Mirrored::of(cache).await;
    let artifact = site.cache.get(&path).clone();
    let cut = Reply::Cut { bytes: artifact.file.clone(), after: 40_000 };
    let whole = Reply::WithoutRanges(artifact.file.clone());
    site.upstream.set(&artifact.info.url, Reply::Then(vec![cut], Box::new(whole)));
    let outcome = site.pass(&[&path]).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    site.clean();
}

#[tokio::test]
async fn a_file_that_changed_between_two_halves_is_fetched_again() {
    let mut cache = Cache::new("test-1");
    let path = cache.add_sized("a", &[], 100_000);
    let mut site = Mirrored::of(cache).await;
    let artifact = site.cache.get(&path).clone();
    let other = vec![5; artifact.file.len()];
    let first = vec![Reply::Cut { bytes: other, after: 40_000 }, Reply::Bytes(artifact.file.clone())];
    site.upstream.set(&artifact.info.url, Reply::Then(first, Box::new(Reply::Bytes(artifact.file.clone()))));
    let outcome = site.pass(&[&path]).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    assert_eq!(ranges(&site.upstream.take_asked(), &artifact.info.url).len(), 3);
    site.clean();
}

#[tokio::test]
async fn a_trickle_is_given_up_and_the_next_source_asked() {
    let mut cache = Cache::new("test-1");
    let paths = ["a", "b"].map(|name| cache.add(name, &[]));
    let (bad, good) = (Upstream::of(&cache).await, Upstream::of(&cache).await);
    let artifact = cache.get(&paths[0]).clone();
    bad.set(&artifact.info.url, Reply::Trickle(artifact.file));
    let narinfo = paths[1].hash_part().narinfo_name();
    let text = bad.bytes(&narinfo);
    let whole = SILENCE / 10 * u32::try_from(text.len()).unwrap();
    bad.set(&narinfo, Reply::Trickle(text));
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let sources = vec![source(&good, &cache.keys(), 50), source(&bad, &cache.keys(), 40)];
    let start = Instant::now();
    let outcome = syncer.pass(&job(sources, &[&paths[0], &paths[1]]), &()).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    assert!(start.elapsed() < whole, "it did not wait for {whole:?}, and for the file even longer");
    let message = outcome.upstreams[0].message.as_deref().unwrap_or_default();
    assert!(message.contains("it sent only"), "{message}");
    assert!(outcome.upstreams[1].ok);
    assert_eq!(clean(directory.path(), &cache.keys()).artifacts, 2);
}

#[tokio::test]
async fn silence_is_given_up_and_the_next_source_asked() {
    let mut cache = Cache::new("test-1");
    let paths = ["a", "b", "c"].map(|name| cache.add(name, &[]));
    let (bad, good) = (Upstream::of(&cache).await, Upstream::of(&cache).await);
    // The narinfo, the NAR's head, and the NAR's middle.
    bad.set(&paths[0].hash_part().narinfo_name(), Reply::Silent);
    bad.set(&cache.get(&paths[1]).info.url, Reply::Silent);
    let artifact = cache.get(&paths[2]).clone();
    bad.set(
        &artifact.info.url,
        Reply::Then(vec![Reply::Stall(artifact.file[..500].into())], Box::new(Reply::Silent)),
    );
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let sources = vec![source(&good, &cache.keys(), 50), source(&bad, &cache.keys(), 40)];
    let outcome = syncer.pass(&job(sources, &paths.each_ref()), &()).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    let asked = bad.take_asked();
    let times = |path: &str| asked.iter().filter(|asked| asked.path == path).count();
    assert!(
        asked.iter().all(|asked| times(&asked.path) <= 2),
        "nothing is waited for a third time: {asked:?}"
    );
    let told = outcome.upstreams.iter().find(|upstream| upstream.url == bad.url()).unwrap();
    assert!(!told.ok && told.message.as_ref().unwrap().contains("said nothing"), "{told:?}");
    clean(directory.path(), &cache.keys());
}

#[tokio::test]
async fn wrong_bytes_at_one_source_are_had_from_the_next() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let (bad, good) = (Upstream::of(&cache).await, Upstream::of(&cache).await);
    let artifact = cache.get(&path).clone();
    bad.set(&artifact.info.url, Reply::Bytes(vec![0; artifact.file.len()]));
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let sources = vec![source(&bad, &cache.keys(), 40), source(&good, &cache.keys(), 50)];
    let outcome = syncer.pass(&job(sources, &[&path]), &()).await;
    assert!(outcome.is_synced() && outcome.refused.is_empty(), "{outcome:#?}");
    clean(directory.path(), &cache.keys());
}

#[tokio::test]
async fn another_mirror_is_asked_last_and_marked() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let (upstream, other) = (Upstream::start().await, Upstream::of(&cache).await);
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let mirror = Source { kind: SourceKind::Mirror, ..source(&other, &cache.keys(), 0) };
    let sources = vec![mirror, source(&upstream, &cache.keys(), 40)];
    let outcome = syncer.pass(&job(sources, &[&path]), &()).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    assert!(is_visible(directory.path(), &path));
    assert!(upstream.take_asked().iter().all(|asked| !asked.hop), "an upstream is not told who asks");
    let asked = other.take_asked();
    assert!(asked.len() == 2 && asked.iter().all(|asked| asked.hop), "{asked:?}");
    assert_eq!(outcome.upstreams.len(), 1, "mirrors are not reported as upstreams");
}

#[tokio::test]
async fn redirects_are_followed_within_reason() {
    let mut cache = Cache::new("test-1");
    let (moved, lost) = (cache.add("moved", &[]), cache.add("lost", &[]));
    let (upstream, elsewhere) = (Upstream::of(&cache).await, Upstream::of(&cache).await);
    let url = cache.get(&moved).info.url.clone();
    upstream.set(&url, Reply::Redirect(format!("{}/{url}", elsewhere.url())));
    let url = cache.get(&lost).info.url.clone();
    upstream.set(&url, Reply::Redirect(format!("/{url}")));
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let outcome = syncer.pass(&job(vec![source(&upstream, &cache.keys(), 40)], &[&moved, &lost]), &()).await;
    assert!(is_visible(directory.path(), &moved) && !is_visible(directory.path(), &lost));
    assert!(outcome.refused[0].message.contains("10 redirects"), "{:?}", outcome.refused);
}

/// Puts so many redirects before a file that is there.
fn lead(upstream: &Upstream, name: &str, redirects: usize) {
    let hop = |number: usize| if number == 0 { name.to_owned() } else { format!("hop/{number}/{name}") };
    let file = upstream.bytes(name);
    for number in 0..redirects {
        upstream.set(&hop(number), Reply::Redirect(format!("/{}", hop(number + 1))));
    }
    upstream.set(&hop(redirects), Reply::Bytes(file));
}

#[tokio::test]
async fn ten_redirects_are_followed_and_eleven_are_not() {
    let mut cache = Cache::new("test-1");
    let paths = ["narinfo-10", "narinfo-11", "nar-10", "nar-11"].map(|name| cache.add(name, &[]));
    let upstream = Upstream::of(&cache).await;
    let nars = [&paths[2], &paths[3]].map(|path| cache.get(path).info.url.clone());
    let narinfos = [&paths[0], &paths[1]].map(|path| path.hash_part().narinfo_name());
    let files = narinfos.iter().chain(&nars).zip([10, 11, 10, 11]);
    for (name, redirects) in files.clone() {
        lead(&upstream, name, redirects);
    }
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let job = job(vec![source(&upstream, &cache.keys(), 40)], &paths.each_ref());
    let outcome = syncer.pass(&job, &()).await;
    let visible = paths.each_ref().map(|path| is_visible(directory.path(), path));
    assert_eq!(visible, [true, false, true, false], "{outcome:#?}");
    let refused: Vec<&str> = outcome.refused.iter().map(|refusal| refusal.message.as_str()).collect();
    assert!(refused.len() == 2 && refused.iter().all(|words| words.contains("10 redirects")), "{refused:?}");
    let asked = upstream.take_asked();
    for (name, redirects) in files {
        let requests = asked.iter().filter(|asked| asked.path.ends_with(name.as_str())).count();
        // The request itself, and ten more: the eleventh redirect is not followed, and the whole is not tried again.
        assert_eq!(requests, 11, "{redirects} redirects before {name}");
    }
    // What is no artifact, a channel's list for one.
    upstream.set("list-10", Reply::Bytes(b"list".to_vec()));
    upstream.set("list-11", Reply::Bytes(b"list".to_vec()));
    lead(&upstream, "list-10", 10);
    lead(&upstream, "list-11", 11);
    let (web, url) = (web_client(), upstream.url());
    let got = web.get(&format!("{url}/list-10"), &[], PATIENCE).await.unwrap();
    assert_eq!(got.bytes().await.unwrap(), "list");
    let refused = web.get(&format!("{url}/list-11"), &[], PATIENCE).await.unwrap_err();
    assert!(matches!(refused, WebError::Loop), "{refused}");
}
