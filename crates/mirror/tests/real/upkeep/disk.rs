//! A disk that takes nothing in.

use granary_placement::report::Report;

use super::has;
use crate::support::{Artifact, Scene, Small, eventually, map_of, noise, wants};

#[tokio::test]
async fn a_full_disk_takes_nothing_in_serves_on_and_recovers_by_itself() {
    for capacity in ["capacity: {keepFree: 4Mi}", ""] {
        let small = Artifact::sized("small-1.0", 100_000);
        let large = Artifact::new("large-1.0", 0, noise(6 << 20), &[&small]);
        let artifacts = [small, large];
        let [small, large] = &artifacts;
        let Some(scene) = Scene::of(&artifacts).await else { return };
        let (corpus, site) = (&scene.corpus, scene.site("lan"));
        // With keepFree there would be room for the large one, but not beside what stays free.
        let disk = Small::mount(&site.tree(), if capacity.is_empty() { "5m" } else { "9m" });
        let more = format!("{}\n{}\n{capacity}", wants(&[large]), site.front_apart());
        let mut mirror = scene.run_at(site, &more);
        let refused = |report: &Report| report.artifacts == 1 && report.refused_total == 1;
        let report = mirror.until("refused", refused).await;
        let (reason, message) = (report.refused[0].reason.as_str(), &report.refused[0].message);
        let full = report.upkeep.capacity.as_ref().and_then(|capacity| capacity.full.clone());
        if capacity.is_empty() {
            assert_eq!(reason, "disk", "{message}");
        } else {
            assert_eq!(reason, "no-space", "{message}");
            assert!(message.contains("capacity.keepFree"), "{message}");
            assert_eq!(scene.upstream.nars(), 1, "it is not even asked for");
            eventually("the report says so", async || mirror.report().await?.upkeep.capacity?.full).await;
            assert!(full.is_none_or(|full| full.contains("no space")));
            assert_eq!(mirror.log().matches("not taking in what has no room").count(), 1, "told once");
        }
        let name = mirror.nar_name(small).await;
        assert_eq!(mirror.body(&name).await.unwrap(), corpus.nar(small), "it serves on");
        mirror.verified(&corpus.key);

        disk.try_remount("size=64m").unwrap();
        let report = mirror.until("recovered", has(2)).await;
        assert_eq!(report.refused_total, 0);
        mirror.verified(&corpus.key);
        assert_eq!(mirror.stop(), Some(0));
    }
}

#[tokio::test]
async fn a_disk_that_cannot_be_written_serves_on_and_recovers_by_itself() {
    let one = Artifact::sized("one-1.0", 100_000);
    let two = Artifact::new("two-1.0", 0, noise(100_000), &[&one]);
    let artifacts = [one, two];
    let [one, two] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (corpus, site) = (&scene.corpus, scene.site("lan"));
    let disk = Small::mount(&site.tree(), "64m");
    scene.put_map(&map_of(1, &[&site], 1, &[&one.path]));
    let more = format!("{}\n{}\nscrub: {{period: 1s}}", scene.follow(), site.front_apart());
    let mirror = scene.run_at(site, &more);
    mirror.until("one", has(1)).await;
    // It is busy as long as something is being written.
    eventually("read-only", async || disk.try_remount("ro").ok()).await;
    scene.put_map(&map_of(2, &[&mirror.site], 1, &[&one.path, &two.path]));
    let refused = |report: &Report| report.refused.iter().any(|refusal| refusal.reason.as_str() == "disk");
    let report = mirror.until("refused", refused).await;
    assert_eq!(report.artifacts, 1);
    let name = mirror.nar_name(one).await;
    assert_eq!(mirror.body(&name).await.unwrap(), corpus.nar(one));
    mirror.verified(&corpus.key);
    disk.try_remount("rw").unwrap();
    mirror.until("recovered", has(2)).await;
    mirror.verified(&corpus.key);
}
