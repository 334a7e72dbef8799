//! With their artifact.

use std::time::Duration;

use granary_mirror::capacity::Rules;
use granary_mirror::config::{Extras, Listings};
use granary_mirror::extras::{Completed, Pace, complete_fresh, keep};
use tokio_util::sync::CancellationToken;

use super::artifacts::{BUILD_ID, debug, debug_listing, derivation, file_listing, member};
use super::{MAKE, MIRROR, Scene, listing_name};
use crate::common::cache::xz;
use crate::common::{Cache, PATIENCE, Reply};

const HASH: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

#[tokio::test]
async fn what_the_upstream_has_beside_an_artifact_comes_with_it_decoded_and_is_asked_for_once() {
    let mut cache = Cache::new("test-1");
    let path = cache.add_addressed("app", "fixed:r:", &[7; 3000]);
    let drv = derivation("app");
    cache.get(&path).info.deriver = Some(drv.clone());
    cache.sign(&path);
    let scene = Scene::new(MIRROR, cache).await;
    let (listing, log) = (file_listing(3000), b"what the build wrote\n".repeat(1000));
    let trace = format!("build-trace-v2/{}/out.doi", drv.base_name());
    let entry = format!(r#"{{"outPath":"{}","signatures":[]}}"#, path.base_name());
    let log_name = format!("log/{}", drv.base_name());
    scene.upstream.set(&listing_name(&path), Reply::Encoded("xz".into(), xz(listing.as_bytes())));
    scene.upstream.set(&log_name, Reply::Encoded("xz".into(), xz(&log)));
    scene.upstream.set(&trace, Reply::Bytes(entry.clone().into()));

    complete_fresh(&scene.keeper).await;
    assert_eq!(scene.read(&listing_name(&path)), Some(listing.into()));
    assert_eq!(scene.read(&log_name), Some(log));
    assert_eq!(scene.read(&trace), Some(entry.into()));
    let mut names = [listing_name(&path), log_name, trace];
    names.sort();
    assert_eq!(scene.asked(), names);
    let done = scene.keeper.complete(&path.hash_part()).await;
    assert_eq!((done, scene.asked()), (Completed::default(), vec![]), "all of it is there");
    assert!(scene.is_tidy());
    let check = crate::clean(scene.path(), &scene.cache.keys());
    assert_eq!((check.extras, check.logs, check.notes), (3, 1, vec![]));
}

#[tokio::test]
async fn an_artifact_that_is_too_large_keeps_nothing_small_out() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("app", &[]);
    let scene = Scene::new(MIRROR, cache).await;
    scene.upstream.set(&listing_name(&path), Reply::Bytes(file_listing(3000).into()));
    scene.tree.capacity().limit(Some(Rules { keep_free: u64::MAX, max_size: None }));
    let done = scene.keeper.complete(&path.hash_part()).await;
    assert_eq!((done, scene.asked()), (Completed { asked: false, failed: true }, vec![]), "no room at all");
    scene.tree.capacity().limit(Some(Rules { keep_free: 0, max_size: Some(64 << 20) }));
    assert!(scene.tree.admit_guest(1 << 30, 0).is_err() && scene.tree.capacity().full().is_some());
    scene.keeper.complete(&path.hash_part()).await;
    assert_eq!(scene.read(&listing_name(&path)), Some(file_listing(3000).into()));
}

#[tokio::test]
async fn what_no_upstream_has_is_absent_or_made_from_the_nar() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("app", &[]);
    let scene = Scene::new(MIRROR, cache).await;
    let done = scene.keeper.complete(&path.hash_part()).await;
    assert_eq!(done, Completed { asked: true, failed: false });
    assert_eq!(scene.read(&listing_name(&path)), None);

    let Scene { cache, upstream, .. } = scene;
    let sources = vec![crate::common::source(&upstream, &cache.keys(), 40)];
    let scene = Scene::of(MAKE, cache, upstream, sources).await;
    scene.keeper.complete(&path.hash_part()).await;
    assert_eq!(scene.read(&listing_name(&path)), Some(file_listing(3000).into()));
    crate::clean(scene.path(), &scene.cache.keys());
}

#[tokio::test]
async fn debug_information_is_indexed_from_the_nar_under_our_name_for_it() {
    let mut cache = Cache::new("test-1");
    let path = debug(&mut cache, "app-debug");
    // The upstream's name says nothing to our clients.
    cache.get(&path).info.url = "nar/0123.nar.xz".into();
    cache.sign(&path);
    let scene = Scene::new(MIRROR, cache).await;
    scene.keeper.complete(&path.hash_part()).await;
    let url = scene.tree.published_narinfo(&path.hash_part()).unwrap().url;
    assert_ne!(url, "nar/0123.nar.xz");
    let entry = format!(r#"{{"archive":"../{url}","member":"{}"}}"#, member(BUILD_ID));
    let name = format!("debuginfo/{BUILD_ID}");
    assert_eq!(scene.read(&name), Some(entry.clone().into()));
    assert_eq!(scene.read(&listing_name(&path)), Some(debug_listing().into()), "by which it is found again");
    assert_eq!(scene.asked(), [listing_name(&path)], "nobody is asked for what the NAR says");

    // It is put right when it leads nowhere.
    std::fs::write(scene.file(&name), entry.replace("../nar/", "../nar/0")).unwrap();
    scene.keeper.complete(&path.hash_part()).await;
    assert_eq!(scene.read(&name), Some(entry.into()));
    crate::clean(scene.path(), &scene.cache.keys());
}

#[tokio::test]
async fn a_listing_that_lies_about_debug_information_is_made_anew() {
    let mut cache = Cache::new("test-1");
    let path = debug(&mut cache, "app-debug");
    let scene = Scene::new(MIRROR, cache).await;
    // Of the same size, so that nothing but the NAR itself can tell.
    let lie = debug_listing().replace(&BUILD_ID[2..], &BUILD_ID[2..].replace('a', "b"));
    scene.upstream.set(&listing_name(&path), Reply::Bytes(lie.into()));
    scene.keeper.complete(&path.hash_part()).await;
    assert_eq!(scene.read(&listing_name(&path)), Some(debug_listing().into()));
    assert!(scene.file(&format!("debuginfo/{BUILD_ID}")).exists());
    assert_eq!(std::fs::read_dir(scene.file("debuginfo")).unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_not_wanted_is_neither_asked_for_nor_made() {
    let mut cache = Cache::new("test-1");
    let path = debug(&mut cache, "app-debug");
    cache.get(&path).info.deriver = Some(derivation("app"));
    let off = Extras { listings: Listings::Never, logs: false, debuginfo: false, realisations: false };
    let scene = Scene::new(off, cache).await;
    assert_eq!(scene.keeper.complete(&path.hash_part()).await, Completed::default());
    for name in [&listing_name(&path), &format!("log/{}", derivation("app").base_name())] {
        assert_eq!(scene.ask(name).await.0, 404);
    }
    assert_eq!(scene.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn the_background_comes_to_what_was_there_before_asks_once_a_round_and_tries_failures_again() {
    let mut cache = Cache::new("test-1");
    let [first, second] = ["one", "two"].map(|name| cache.add(name, &[]));
    let scene = Scene::new(MIRROR, cache).await;
    while scene.tree.take_fresh().is_some() {}
    let all = scene.tree.published_after(None, 10);
    assert!(all.len() == 2 && all[0] < all[1]);
    assert_eq!(scene.tree.published_after(None, 1), all[..1]);
    assert_eq!(scene.tree.published_after(Some(&all[0]), 10), all[1..]);
    assert_eq!(scene.tree.published_after(Some(&all[1]), 10), []);
    // The first has none; of the second it is not known for a while.
    let good = Reply::Bytes(file_listing(3000).into());
    let bad = vec![Reply::Status(500); 2];
    scene.upstream.set(&listing_name(&second), Reply::Then(bad, good.into()));
    let pace = Pace {
        round: Duration::from_hours(1),
        after_asking: Duration::ZERO,
        after_looking: Duration::ZERO,
        retry: Duration::from_millis(1),
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(keep(scene.keeper.clone(), pace, 7, stop.clone()));
    let patience = async {
        while !scene.file(&listing_name(&second)).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, patience).await.unwrap();
    stop.cancel();
    task.await.unwrap();
    let asked = scene.asked();
    let of = |name: String| asked.iter().filter(|asked| **asked == name).count();
    assert_eq!(of(listing_name(&second)), 3);
    assert!(of(listing_name(&first)) <= 1, "what is absent is not asked for again: {asked:?}");
}

#[tokio::test]
async fn they_go_with_their_artifact_and_what_another_one_needs_stays() {
    let mut cache = Cache::new("test-1");
    let (out, dev, debug) =
        (cache.add("app", &[]), cache.add("app-dev", &[]), debug(&mut cache, "app-debug"));
    let drv = derivation("app");
    for path in [&out, &dev, &debug] {
        cache.get(path).info.deriver = Some(drv.clone());
    }
    let scene = Scene::new(MAKE, cache).await;
    let log = format!("log/{}", drv.base_name());
    let realisation = format!("realisations/sha256:{HASH}!out.doi");
    let text = format!(r#"{{"id":"sha256:{HASH}!out","outPath":"{}","signatures":[]}}"#, out.base_name());
    scene.upstream.set(&log, Reply::Bytes(b"log".to_vec()));
    scene.upstream.set(&realisation, Reply::Bytes(text.into()));
    complete_fresh(&scene.keeper).await;
    assert_eq!(scene.ask(&realisation).await.0, 200);
    let entry = format!("debuginfo/{BUILD_ID}");
    for name in [&log, &realisation, &entry, &listing_name(&out), &listing_name(&dev), &listing_name(&debug)]
    {
        assert!(scene.file(name).exists(), "{name}");
    }

    scene.tree.remove(&out.hash_part()).unwrap();
    assert!(!scene.file(&listing_name(&out)).exists() && !scene.file(&realisation).exists());
    assert!(scene.file(&log).exists() && scene.file(&entry).exists());
    scene.tree.remove_all(&[dev.hash_part(), debug.hash_part()]).unwrap();
    for name in [&log, &entry, &listing_name(&dev), &listing_name(&debug)] {
        assert!(!scene.file(name).exists(), "{name}");
    }
    // Who still asks gets an answer, and nothing is kept of it.
    assert_eq!(scene.ask(&log).await, (http::StatusCode::OK, b"log".to_vec()));
    assert!(!scene.file(&log).exists());
    assert!(scene.is_tidy());
}
