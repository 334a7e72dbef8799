//! Narinfos of what nobody wanted before.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use granary_fetch::Source;
use granary_mirror::through::Answer;
use granary_nix::StorePath;
use granary_placement::report::RefusalReason;

use super::super::clean;
use super::super::common::{Cache, Reply, Upstream, source};
use super::Site;

/// An application, what it needs, and what that needs.
fn cache() -> (Cache, [StorePath; 3]) {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let library = cache.add("library", &[&base]);
    let app = cache.add("app", &[&library, &base]);
    (cache, [base, library, app])
}

fn asked(upstream: &Upstream, path: &StorePath) -> usize {
    let name = path.hash_part().narinfo_name();
    upstream.take_asked().iter().filter(|asked| asked.path == name).count()
}

#[tokio::test]
async fn a_narinfo_brings_its_closure_into_the_catalog() {
    let (cache, paths) = cache();
    let upstream = Upstream::of(&cache).await;
    let site = Site::new(&[source(&upstream, &cache.keys(), 40)]);
    let info = site.found(&paths[2]).await;
    assert_eq!(info.store_path, paths[2]);
    site.settled().await;
    assert!(paths.iter().all(|path| site.tree.in_catalog(&path.hash_part())));
    assert_eq!(clean(site.path(), &cache.keys()).catalog, 3);
    for path in &paths {
        site.found(path).await;
    }
    assert_eq!(upstream.take_asked().len(), 3, "each narinfo once, whoever asks for it afterwards");
}

#[tokio::test]
async fn many_who_ask_are_one_question() {
    let (cache, paths) = cache();
    let upstream = Upstream::of(&cache).await;
    let site = Site::new(&[source(&upstream, &cache.keys(), 40)]);
    let answers = futures::future::join_all((0..50).map(|_| site.narinfo(&paths[0]))).await;
    assert!(answers.iter().all(|answer| matches!(answer, Answer::Found(_))));
    assert_eq!(asked(&upstream, &paths[0]), 1);
}

/// One after the other they would be silent for longer than any client is let wait.
#[tokio::test]
async fn silent_upstreams_are_not_waited_for() {
    let (cache, paths) = cache();
    let good = Upstream::of(&cache).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        let upstream = Upstream::start().await;
        upstream.set(&paths[0].hash_part().narinfo_name(), Reply::Silent);
        silent.push(upstream);
    }
    let mut sources: Vec<Source> = silent.iter().map(|it| source(it, &cache.keys(), 10)).collect();
    sources.push(source(&good, &cache.keys(), 40));
    let site = Site::with(&sources, 1 << 30, Duration::from_mins(1));
    assert_eq!(site.found(&paths[0]).await.store_path, paths[0]);
    assert!(silent.iter().all(|upstream| upstream.take_asked().len() == 1), "by priority, all were asked");
}

/// Closures with more narinfos than are asked for at once, about all of which an upstream is silent: no client waits until it is
/// given up for one of them, not even for what a closure waits for.
#[tokio::test]
async fn no_client_waits_behind_closures() {
    // A machine that stands still for seconds may give some of them up before a client has its answer.
    for _ in 0..5 {
        if clients_are_answered_before_a_look_up_is_given_up().await {
            return;
        }
    }
    panic!("clients were answered only after an upstream was given up for some of the closures");
}

async fn clients_are_answered_before_a_look_up_is_given_up() -> bool {
    let mut cache = Cache::new("test-1");
    let closures: Vec<Vec<StorePath>> =
        (0..3).map(|app| (0..32).map(|it| cache.add(&format!("needed-{app}-{it}"), &[])).collect()).collect();
    let apps: Vec<StorePath> = closures
        .iter()
        .enumerate()
        .map(|(number, needed)| cache.add(&format!("app-{number}"), &needed.iter().collect::<Vec<_>>()))
        .collect();
    let other = cache.add("other", &[]);
    let (good, silent) = (Upstream::of(&cache).await, Upstream::start().await);
    let mut needed: HashMap<String, (&StorePath, Vec<u8>)> = HashMap::new();
    for path in closures.iter().flatten() {
        let name = path.hash_part().narinfo_name();
        needed.insert(name.clone(), (path, good.bytes(&name)));
        silent.set(&name, Reply::Silent);
        good.set(&name, Reply::Status(404));
    }
    let sources = [source(&silent, &cache.keys(), 10), source(&good, &cache.keys(), 40)];
    let site = Site::with(&sources, 1 << 30, Duration::from_mins(10));
    for app in &apps {
        site.found(app).await;
    }
    let mut stuck: HashSet<String> = HashSet::new();
    while stuck.len() < 32 {
        let asked = silent.take_asked().into_iter().map(|asked| asked.path);
        stuck.extend(asked.filter(|path| needed.contains_key(path)));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // If more are asked for at once, they are by now.
    tokio::time::sleep(Duration::from_millis(300)).await;
    stuck.extend(silent.take_asked().into_iter().map(|asked| asked.path));
    // One for which a closure waits and that was not asked for yet, and one of which no closure knows.
    let (name, (waits, text)) = needed.iter().find(|(name, _)| !stuck.contains(*name)).unwrap();
    silent.set(name, Reply::Status(404));
    good.set(name, Reply::Bytes(text.clone()));
    site.found(waits).await;
    site.found(&other).await;
    let metrics = site.metrics.text().unwrap();
    let given_up =
        metrics.lines().find(|line| line.contains("pull_through_narinfos_total{result=\"unknown\"}"));
    let none = given_up.unwrap().ends_with(" 0");
    site.stop.cancel();
    none
}

#[tokio::test]
async fn absence_needs_the_word_of_every_upstream_and_trouble_is_not_remembered() {
    let (cache, paths) = cache();
    let (empty, other) = (Upstream::start().await, Upstream::of(&cache).await);
    let name = paths[0].hash_part().narinfo_name();
    let good = other.bytes(&name);
    let sources = [source(&empty, &cache.keys(), 10), source(&other, &cache.keys(), 40)];
    for trouble in [Reply::Status(500), Reply::Silent, Reply::Cut { bytes: good.clone(), after: 10 }] {
        let site = Site::new(&sources);
        other.set(&name, trouble.clone());
        assert!(matches!(site.narinfo(&paths[0]).await, Answer::Unknown(_)), "{trouble:?}");
        other.set(&name, Reply::Bytes(good.clone()));
        assert!(matches!(site.narinfo(&paths[0]).await, Answer::Found(_)), "{trouble:?}");
    }
    let site = Site::new(&sources);
    other.set(&name, Reply::Status(404));
    empty.take_asked();
    for _ in 0..3 {
        assert!(matches!(site.narinfo(&paths[0]).await, Answer::Absent));
    }
    assert_eq!(asked(&empty, &paths[0]), 1, "a no of them all is remembered for a moment");
}

#[tokio::test]
async fn what_is_not_signed_by_its_upstreams_key_is_not_passed_on() {
    let (cache, paths) = cache();
    let mut forged = Cache::new("test-1");
    forged.key = Cache::new("other").key;
    forged.add("base", &[]);
    let (liar, good) = (Upstream::of(&forged).await, Upstream::of(&cache).await);
    let alone = Site::new(&[source(&liar, &cache.keys(), 10)]);
    assert!(matches!(alone.narinfo(&paths[0]).await, Answer::Absent));
    let both = Site::new(&[source(&liar, &cache.keys(), 10), source(&good, &cache.keys(), 40)]);
    let info = both.found(&paths[0]).await;
    assert!(cache.keys().verify(&info).is_ok());
    assert_eq!(asked(&liar, &paths[0]), 2, "the liar was asked first");
}

#[tokio::test]
async fn a_closure_that_is_not_whole_upstream_is_answered_and_not_kept() {
    let (cache, paths) = cache();
    let upstream = Upstream::of(&cache).await;
    upstream.set(&paths[0].hash_part().narinfo_name(), Reply::Status(404));
    let site = Site::new(&[source(&upstream, &cache.keys(), 40)]);
    let info = site.found(&paths[2]).await;
    site.settled().await;
    assert!(!site.tree.in_catalog(&paths[2].hash_part()));
    let file = cache.artifacts[2].file.clone();
    assert_eq!(site.get(&info).await, super::Got::Whole(file), "clients are served nevertheless");
    site.settled().await;
    assert_eq!(site.tree.totals().artifacts, 0);
    assert_eq!(clean(site.path(), &cache.keys()).catalog, 0);

    // When it is whole, it is kept. What was absent is asked for anew after a moment.
    cache.serve(&upstream);
    let site = Site::new(&[source(&upstream, &cache.keys(), 40)]);
    site.get(&*site.found(&paths[2]).await).await;
    site.settled().await;
    assert_eq!(site.tree.totals().artifacts, 1);
    assert_eq!(clean(site.path(), &cache.keys()).artifacts, 1);
}

#[tokio::test]
async fn a_bad_narinfo_is_refused_until_a_good_one_comes() {
    let (cache, paths) = cache();
    let mut forged = Cache::new("test-1");
    forged.key = Cache::new("other").key;
    forged.add("base", &[]);
    let (liar, good) = (Upstream::of(&forged).await, Upstream::of(&cache).await);
    let name = paths[0].hash_part().narinfo_name();
    let narinfo = good.bytes(&name);
    good.set(&name, Reply::Status(500));
    let site = Site::new(&[source(&liar, &cache.keys(), 10), source(&good, &cache.keys(), 40)]);
    // Whether the other has it is not known, so that nothing is remembered.
    assert!(matches!(site.narinfo(&paths[0]).await, Answer::Unknown(_)));
    let refused = (paths[0].hash_part().to_string(), RefusalReason::UntrustedKey, liar.url().to_owned());
    assert_eq!(site.refused(), [refused]);
    good.set(&name, Reply::Bytes(narinfo));
    site.found(&paths[0]).await;
    assert_eq!(site.refused(), []);
}
