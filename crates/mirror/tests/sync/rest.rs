//! Upstreams that say when they want to be asked again.

use std::time::{Duration, Instant};

use granary_fetch::watch::Asked;
use granary_placement::report::RefusalReason;

use super::common::{Cache, Reply, Upstream, fetcher, job, mirror, source};
use super::is_visible;
use super::mirrored::Mirrored;

fn asks_for(status: u16, seconds: u64) -> Reply {
    Reply::RetryAfter(status, seconds.to_string())
}

#[tokio::test]
async fn a_short_wait_is_waited_for() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let mut site = Mirrored::of(cache).await;
    let names = [path.hash_part().narinfo_name(), site.cache.get(&path).info.url.clone()];
    for (name, reply) in names.iter().zip([asks_for(429, 2), asks_for(503, 1)]) {
        site.upstream.set(name, Reply::Then(vec![reply], Box::new(Reply::Bytes(site.upstream.bytes(name)))));
    }
    let start = Instant::now();
    let outcome = site.pass(&[&path]).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    // A narinfo after two seconds, then its NAR after one: the back-off alone would take a fifth of a second.
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
    assert_eq!(site.upstream.take_asked().len(), 4);
    site.clean();
}

#[tokio::test]
async fn who_asks_for_a_long_rest_is_left_alone_by_everybody_and_the_next_is_asked() {
    let mut cache = Cache::new("test-1");
    let paths = ["a", "b"].map(|name| cache.add(name, &[]));
    let (tired, good) = (Upstream::of(&cache).await, Upstream::of(&cache).await);
    let narinfo = paths[0].hash_part().narinfo_name();
    tired.set(&narinfo, asks_for(503, 60));
    let fetcher = fetcher();
    let tired_source = source(&tired, &cache.keys(), 40);
    let fault = fetcher.narinfo(&tired_source, &paths[0].hash_part()).await.unwrap_err();
    assert_eq!(fault.reason, RefusalReason::UpstreamUnreachable);
    assert!(fault.message.contains("503") && fault.message.contains("left alone for 60 s"), "{fault}");
    assert_eq!(tired.take_asked().len(), 1, "it is not asked three times");

    // Another narinfo, a file, a part for a client, and all of that by who has other limits.
    let others = fetcher.with_limits(fetcher.limits().clone()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for fetcher in [&fetcher, &others] {
        let url = tired_source.url.join("nar/x").unwrap();
        let faults = [
            fetcher.narinfo(&tired_source, &paths[1].hash_part()).await.unwrap_err(),
            fetcher.file(&tired_source, "log/x", 10, &directory.path().join("x")).await.unwrap_err(),
            fetcher.get(&tired_source, Asked::Nar, url, &[]).await.unwrap_err(),
        ];
        for fault in faults {
            assert!(fault.message.starts_with("left alone for ") && fault.is_transient(), "{fault}");
        }
        assert!(fetcher.trouble(&tired_source).unwrap().contains("asks to be left alone"));
    }
    assert_eq!(tired.take_asked(), []);

    // In a pass, the long rest of one is no trouble while another has everything.
    let (_tree, syncer) = mirror(directory.path());
    let sources = vec![tired_source, source(&good, &cache.keys(), 50)];
    let job = job(sources, &[&paths[0], &paths[1]]);
    tired.set(&paths[1].hash_part().narinfo_name(), asks_for(429, 60));
    for _ in 0..2 {
        let outcome = syncer.pass(&job, &()).await;
        assert!(outcome.is_synced(), "{outcome:#?}");
        let message = outcome.upstreams[0].message.as_deref().unwrap_or_default();
        assert!(!outcome.upstreams[0].ok && message.contains("asks to be left alone for 60 s"), "{message}");
    }
    assert!(tired.take_asked().len() <= 2, "both at once at most");
    assert!(paths.iter().all(|path| is_visible(directory.path(), path)));
}

#[tokio::test]
async fn a_date_is_a_wait_too_and_a_mistake_is_none() {
    let cache = Cache::new("test-1");
    let upstream = Upstream::start().await;
    let hash = super::common::cache::store_path("a").hash_part();
    let source = source(&upstream, &cache.keys(), 40);
    let far = "Fri, 31 Dec 9999 23:59:59 GMT";
    upstream.set(&hash.narinfo_name(), Reply::RetryAfter(503, far.into()));
    let fault = fetcher().narinfo(&source, &hash).await.unwrap_err();
    assert!(fault.message.contains("left alone for 3600 s"), "an hour at most: {fault}");
    upstream.set(&hash.narinfo_name(), Reply::RetryAfter(503, "soon".into()));
    let fetcher = fetcher();
    upstream.take_asked();
    fetcher.narinfo(&source, &hash).await.unwrap_err();
    assert_eq!(upstream.take_asked().len(), 3, "as if nothing had been said");
    upstream.set(&hash.narinfo_name(), Reply::RetryAfter(404, "60".into()));
    assert_eq!(fetcher.narinfo(&source, &hash).await, Ok(None), "an answer is an answer");
    assert_eq!(fetcher.narinfo(&source, &hash).await, Ok(None));
}
