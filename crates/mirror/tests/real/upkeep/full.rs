//! A full disk, as it is seen from outside.

use std::fs::{self, File};
use std::io::Write as _;

use granary_placement::report::Report;
use nix::sys::signal::{Signal, kill};

use super::has;
use crate::support::{Artifact, Mirror, Scene, Small, eventually, noise, wants};

/// What a browser says it takes.
const BROWSER: &str = "text/html,*/*;q=0.8";

/// Something small, something large that needs it, and something else that is small.
fn artifacts() -> [Artifact; 3] {
    let small = Artifact::sized("small-1.0", 100_000);
    let large = Artifact::new("large-1.0", 0, noise(6 << 20), &[&small]);
    let other = Artifact::new("other-1.0", 0, b"small too".to_vec(), &[&small]);
    [small, large, other]
}

async fn page(scene: &Scene, mirror: &Mirror) -> String {
    let answer = scene.client.get(mirror.url()).header("Accept", BROWSER).send().await.unwrap();
    answer.text().await.unwrap()
}

/// It says everywhere that something has no room, with this setting as the reason, and serves on.
async fn is_seen_to_be_full(scene: &Scene, mirror: &Mirror, [small, large, other]: &[Artifact; 3], by: &str) {
    let full = |report: &Report| {
        report.artifacts == 2
            && report.refused_total == 1
            && full(report).is_some_and(|full| full.contains(by))
    };
    let report = mirror.until("full", full).await;
    assert_eq!(
        (report.refused[0].store_path.as_str(), report.refused[0].reason.as_str()),
        (&*large.path, "no-space")
    );
    assert!(!report.upkeep.capacity.as_ref().unwrap().read_only, "{report:?}");
    mirror
        .has_metrics(&[
            "granary_mirror_full 1",
            "granary_mirror_disk_read_only 0",
            "granary_mirror_refused 1",
        ])
        .await;
    let page = page(scene, mirror).await;
    for words in ["Taking in", "no room", "no space: it needs up to 6.0 MiB", by, "serving"] {
        assert!(page.contains(words), "{words}: {page}");
    }
    for artifact in [small, other] {
        let name = mirror.nar_name(artifact).await;
        assert_eq!(mirror.body(&name).await.unwrap(), scene.corpus.nar(artifact));
    }
    mirror.ready().await;
}

fn full(report: &Report) -> Option<&str> {
    report.upkeep.capacity.as_ref()?.full.as_deref()
}

/// It has everything by itself, and says nothing of room any more.
async fn is_seen_to_have_room(scene: &Scene, mirror: &Mirror, large: &Artifact) {
    let report = mirror.until("all of it, and room", |report| has(3)(report) && full(report).is_none()).await;
    assert_eq!(report.refused_total, 0, "{report:?}");
    mirror.has_metrics(&["granary_mirror_full 0", "granary_mirror_refused 0"]).await;
    let page = page(scene, mirror).await;
    assert!(!page.contains("Taking in") && !page.contains("no room"), "{page}");
    let name = mirror.nar_name(large).await;
    assert_eq!(mirror.body(&name).await.unwrap(), scene.corpus.nar(large));
    mirror.verified(&scene.corpus.key);
}

#[tokio::test]
async fn a_full_disk_is_seen_in_metrics_page_and_report_until_there_is_room() {
    let artifacts = artifacts();
    let [_, large, other] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let site = scene.site("lan");
    // There would be room for the large one, but not beside what stays free.
    let disk = Small::mount(&site.tree(), "9m");
    let more = format!("{}\n{}\ncapacity: {{keepFree: 4Mi}}", wants(&[large, other]), site.front_apart());
    let mut mirror = scene.run_at(site, &more);
    is_seen_to_be_full(&scene, &mirror, &artifacts, "capacity.keepFree").await;
    disk.try_remount("size=64m").unwrap();
    is_seen_to_have_room(&scene, &mirror, large).await;
    assert_eq!(mirror.stop(), Some(0));
}

#[tokio::test]
async fn a_size_that_is_reached_is_seen_until_the_file_allows_more() {
    let artifacts = artifacts();
    let [_, large, other] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let more = |size: &str| format!("{}\ncapacity: {{keepFree: 0, maxSize: {size}}}", wants(&[large, other]));
    let mirror = scene.run(&more("4Mi"));
    is_seen_to_be_full(&scene, &mirror, &artifacts, "capacity.maxSize").await;
    scene.write(&mirror.site, &more("64Mi"));
    is_seen_to_have_room(&scene, &mirror, large).await;
}

/// Nothing tries again by itself to have what a client asked for: a disk that was full once must not count as full for ever.
#[tokio::test]
async fn what_clients_ask_for_is_kept_again_when_there_is_room() {
    let artifacts = artifacts();
    let [small, large, other] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (corpus, site) = (&scene.corpus, scene.site("lan"));
    let disk = Small::mount(&site.tree(), "9m");
    // One pass: nothing but clients and the clock moves anything.
    let more = "pullThrough: {maxSize: 1Gi}\nsyncSeconds: 86400\ncapacity: {keepFree: 4Mi}";
    let mirror = scene.run_at(site.clone(), &format!("{more}\n{}", site.front_apart()));
    mirror.synced().await;
    let fetch = async |artifact: &Artifact| {
        assert_eq!(mirror.status(&artifact.narinfo()).await, 200);
        assert_eq!(mirror.body(&corpus.narinfo(artifact).url).await.unwrap(), corpus.nar(artifact));
    };
    fetch(small).await;
    mirror.until("the small one is kept", |report| report.artifacts == 1).await;
    // It is passed on without being kept.
    fetch(large).await;
    mirror.until_metric("granary_mirror_full 1").await;
    let report = mirror.until("full", |report| full(report).is_some()).await;
    assert_eq!(report.artifacts, 1, "{report:?}");

    disk.try_remount("size=64m").unwrap();
    mirror.until_metric("granary_mirror_full 0").await;
    mirror.until("room", |report| full(report).is_none()).await;
    for (artifact, count) in [(other, 2), (large, 3)] {
        fetch(artifact).await;
        mirror.until("it is kept", |report| report.artifacts == count).await;
    }
    mirror.verified(&corpus.key);
}

/// nginx's files are where they are by default: in the tree, on the disk that is full.
#[tokio::test]
async fn nginx_serves_on_and_starts_again_with_its_files_on_a_disk_that_is_full_to_the_last_byte() {
    let artifacts = artifacts();
    let [small, large, other] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (corpus, site) = (&scene.corpus, scene.site("lan"));
    let disk = Small::mount(&site.tree(), "16m");
    let mut mirror = scene.run_at(site, &format!("{}\npullThrough: {{maxSize: 1Gi}}", wants(&[other])));
    mirror.until("both are here", has(2)).await;
    let fill = || {
        let mut file =
            File::options().append(true).create(true).open(mirror.site.tree().join("fill")).unwrap();
        while file.write(&[7; 4096]).is_ok_and(|written| written > 0) {}
    };
    let serves = async || {
        for artifact in [small, other, large] {
            assert_eq!(mirror.status(&artifact.narinfo()).await, 200);
            let nar = mirror.body(&corpus.narinfo(artifact).url).await.unwrap();
            assert!(nar == corpus.nar(artifact), "{}", artifact.path);
        }
        assert_eq!(mirror.status(&format!("{}.narinfo", "0".repeat(32))).await, 404);
    };
    fill();
    serves().await;
    let first = mirror.nginx().unwrap();
    kill(first, Signal::SIGTERM).unwrap();
    eventually("another nginx", async || mirror.nginx().filter(|pid| *pid != first)).await;
    mirror.until("it answers", has(2)).await;
    fill();
    serves().await;
    mirror.verified(&corpus.key);

    fs::remove_file(mirror.site.tree().join("fill")).unwrap();
    let is_kept = async || {
        serves().await;
        (mirror.report().await?.artifacts == 3).then_some(())
    };
    eventually("the large one is kept", is_kept).await;
    mirror.verified(&corpus.key);
    assert_eq!(mirror.stop(), Some(0));
    drop((mirror, disk));
}
