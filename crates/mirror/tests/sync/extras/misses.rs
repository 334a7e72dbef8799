//! On a miss, from an upstream that behaves.

use futures::future::join_all;
use granary_mirror::agent::misses::HOP;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::artifacts::{BUILD_ID, OTHER_ID, debug, derivation, file_listing, member};
use super::{MAKE, MIRROR, Scene, listing_name};
use crate::common::{Cache, Reply, Upstream, source};

const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

/// A mirror of one artifact, and its derivation's log name.
async fn scene() -> (Scene, granary_nix::StorePath, String) {
    let mut cache = Cache::new("test-1");
    let path = cache.add("app", &[]);
    cache.get(&path).info.deriver = Some(derivation("app"));
    (Scene::new(MIRROR, cache).await, path, format!("log/{}", derivation("app").base_name()))
}

#[tokio::test]
async fn a_file_is_asked_for_once_however_many_want_it_and_then_kept() {
    let (scene, path, log) = scene().await;
    scene.upstream.set(&log, Reply::Bytes(b"a log".to_vec()));
    scene.upstream.set(&listing_name(&path), Reply::Bytes(file_listing(3000).into()));
    let answers = join_all((0..20).map(|_| scene.ask(&log))).await;
    assert!(answers.iter().all(|answer| *answer == (StatusCode::OK, b"a log".to_vec())));
    assert_eq!(scene.asked(), std::slice::from_ref(&log), "one request for all of them");
    assert_eq!(scene.read(&log).as_deref(), Some(&b"a log"[..]));
    assert_eq!(scene.ask(&listing_name(&path)).await, (StatusCode::OK, file_listing(3000).into()));
    scene.asked();
    scene.upstream.set(&log, Reply::Status(500));
    assert_eq!(scene.ask(&log).await.0, 200, "what is in the tree is served from there");
    assert_eq!(scene.asked(), Vec::<String>::new());
    crate::clean(scene.path(), &scene.cache.keys());
}

#[tokio::test]
async fn what_belongs_to_nothing_here_is_passed_on_and_not_kept() {
    let (scene, _, _) = scene().await;
    let other = format!("log/{}", derivation("other").base_name());
    scene.upstream.set(&other, Reply::Bytes(b"another log".to_vec()));
    assert_eq!(scene.ask(&other).await, (StatusCode::OK, b"another log".to_vec()));
    assert!(!scene.file("log").exists() && scene.is_tidy());
}

#[tokio::test]
async fn a_realisation_is_kept_with_the_artifact_that_it_names() {
    let (scene, path, _) = scene().await;
    let text = |output: &str, base: &str| {
        format!(r#"{{"id":"sha256:{HEX}!{output}","outPath":"{base}","signatures":[]}}"#)
    };
    let name = |output: &str| format!("realisations/sha256:{HEX}!{output}.doi");
    let stranger = derivation("x");
    let (here, elsewhere) = (text("out", path.base_name()), text("dev", stranger.base_name()));
    // As a directory that Nix 2.34 wrote is served.
    scene.upstream.set(&name("out").replace('!', "%2521"), Reply::Bytes(here.clone().into()));
    scene.upstream.set(&name("dev"), Reply::Bytes(elsewhere.clone().into()));
    assert_eq!(scene.ask(&name("out")).await, (StatusCode::OK, here.clone().into()));
    assert_eq!(scene.read(&name("out")), Some(here.into()), "under the one name that it has");
    assert_eq!(scene.ask(&name("dev")).await, (StatusCode::OK, elsewhere.into()));
    assert_eq!(scene.read(&name("dev")), None);
    crate::clean(scene.path(), &scene.cache.keys());
}

#[tokio::test]
async fn a_404_is_what_every_upstream_says() {
    let (scene, _, log) = scene().await;
    assert_eq!(scene.ask(&log).await.0, 404);
    assert_eq!(scene.asked(), std::slice::from_ref(&log));
    assert_eq!(scene.ask(&log).await.0, 404);
    assert_eq!(scene.asked(), Vec::<String>::new(), "it is remembered for a moment");

    let Scene { cache, upstream, .. } = scene;
    let second = Upstream::start().await;
    let sources = vec![source(&upstream, &cache.keys(), 40), source(&second, &cache.keys(), 50)];
    let scene = Scene::of(MIRROR, cache, upstream, sources).await;
    second.set(&log, Reply::Status(503));
    assert_eq!(scene.ask(&log).await.0, 503, "one of them does not say so");
    second.set(&log, Reply::Bytes(b"a log".to_vec()));
    assert_eq!(scene.ask(&log).await, (StatusCode::OK, b"a log".to_vec()), "a 503 is not remembered");
}

#[tokio::test]
async fn another_mirror_is_answered_from_the_tree_only() {
    let (scene, path, log) = scene().await;
    scene.upstream.set(&log, Reply::Bytes(b"a log".to_vec()));
    let marked: HeaderMap = [(HOP, HeaderValue::from_static("1"))].into_iter().collect();
    assert_eq!(scene.ask_with(&marked, &log).await.0, 404);
    assert_eq!(scene.asked(), Vec::<String>::new());
    assert_eq!(scene.ask(&log).await.0, 200);
    assert_eq!(scene.ask_with(&marked, &log).await.0, 200);
    assert_eq!(scene.ask_with(&marked, &listing_name(&path)).await.0, 404);
}

#[tokio::test]
async fn a_listing_that_no_upstream_gives_is_made_if_that_is_wanted() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("app", &[]);
    let scene = Scene::new(MAKE, cache).await;
    scene.upstream.set(&listing_name(&path), Reply::Status(500));
    assert_eq!(scene.ask(&listing_name(&path)).await, (StatusCode::OK, file_listing(3000).into()));
    assert_eq!(scene.ask(&listing_name(&derivation("x"))).await.0, 404, "of something that is not here");
}

#[tokio::test]
async fn an_entry_of_the_debug_index_is_made_from_the_nar_that_it_names() {
    let mut cache = Cache::new("test-1");
    let (path, plain) = (debug(&mut cache, "app"), cache.add("plain", &[]));
    let scene = Scene::new(MIRROR, cache).await;
    let entry = |url: &str, id: &str| format!(r#"{{"archive":"../{url}","member":"{}"}}"#, member(id));
    let [url, plain] = [&path, &plain].map(|path| scene.info(path).url);
    let name = |id: &str| format!("debuginfo/{id}");
    // As `nix copy` names it.
    scene.upstream.set(&format!("{}.debug", name(BUILD_ID)), Reply::Bytes(entry(&url, BUILD_ID).into()));
    let found = scene.ask(&format!("{}.debug", name(BUILD_ID))).await;
    assert_eq!(found, (StatusCode::OK, entry(&url, BUILD_ID).into()));
    assert_eq!(scene.read(&name(BUILD_ID)), Some(entry(&url, BUILD_ID).into()));
    assert!(scene.file(&listing_name(&path)).exists(), "by which it goes with its artifact");

    // The NAR has no such thing, and one that nobody can have here.
    scene.upstream.set(&name(OTHER_ID), Reply::Bytes(entry(&plain, OTHER_ID).into()));
    assert_eq!(scene.ask(&name(OTHER_ID)).await.0, 503);
    let nowhere = "nar/1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d.nar.xz";
    scene.upstream.set(&name(OTHER_ID), Reply::Bytes(entry(nowhere, OTHER_ID).into()));
    assert_eq!(scene.ask(&name(OTHER_ID)).await.0, 404);
    assert_eq!(std::fs::read_dir(scene.file("debuginfo")).unwrap().count(), 1);
    crate::clean(scene.path(), &scene.cache.keys());
}

#[tokio::test]
async fn an_entry_for_what_another_mirror_holds_has_the_name_that_its_nar_has_here() {
    let mut cache = Cache::new("test-1");
    let path = debug(&mut cache, "app-debug");
    let scene = Scene::new(MIRROR, cache).await;
    let url = scene.info(&path).url;
    scene.tree.forget(&path.hash_part());
    let name = format!("debuginfo/{BUILD_ID}");
    let entry = format!(r#"{{ "member": "{}", "archive": "../{url}" }}"#, member(BUILD_ID));
    scene.upstream.set(&name, Reply::Bytes(entry.into()));
    let ours = format!(r#"{{"archive":"../{url}","member":"{}"}}"#, member(BUILD_ID));
    assert_eq!(scene.ask(&name).await, (StatusCode::OK, ours.into()));
    assert_eq!(scene.read(&name), None);
}
