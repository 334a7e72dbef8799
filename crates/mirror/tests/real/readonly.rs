//! A mirror that starts on a disk that takes nothing in, with the real nginx in front of it.

use std::fs;

use reqwest::StatusCode;

use super::support::{
    Artifact, Mirror, Report, Scene, Small, TOKEN, eventually, noise, run, takes_pushes, text, wants,
};

#[tokio::test]
async fn it_starts_on_a_read_only_disk_serves_says_so_and_recovers_by_itself() {
    let one = Artifact::sized("one-1.0", 100_000);
    let two = Artifact::new("two-1.0", 0, noise(100_000), &[&one]);
    let artifacts = [one, two];
    let [one, two] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (corpus, upstream, client) = (&scene.corpus, &scene.upstream, &scene.client);
    let site = scene.site("lan");
    let disk = Small::mount(&site.tree(), "64m");
    // nginx's files are where they are by default: in the tree.
    let mut mirror = scene.run_at(site, &wants(&[one]));
    mirror.synced().await;
    // As a machine that fails leaves it: nginx keeps the port, and the next start has to end it.
    mirror.kill();
    fs::write(mirror.site.tree().join(".granary/tmp/7"), "half").unwrap();
    eventually("read-only", async || disk.try_remount("ro").ok()).await;
    // Pushes are taken for the first time, which needs a folder that cannot be made yet.
    let push = takes_pushes(scene.path(), "10Mi", &corpus.key);
    scene.write(&mirror.site, &format!("{}\n{push}", wants(&[two])));
    let asked = upstream.nars();
    let run_directory = scene.path().join("run");
    fs::create_dir(&run_directory).unwrap();
    let second = Mirror::run_with(mirror.site.clone(), &[("RUNTIME_DIRECTORY", text(&run_directory))]);

    // Not the old one, which serves until then.
    eventually("its own nginx", async || {
        let log = second.log();
        (log.contains("left over from an earlier run") && log.contains("nginx started")).then_some(())
    })
    .await;
    let said = |report: &Report| {
        report.upkeep.capacity.as_ref().is_some_and(|capacity| capacity.read_only) && report.refused_total > 0
    };
    let report = second.until("it says so", said).await;
    assert!(report.upkeep.capacity.unwrap().full.unwrap().contains("the disk is read-only"));
    assert_eq!((report.artifacts, report.refused[0].reason.as_str()), (1, "disk"), "{:?}", report.refused);
    second.ready().await;
    let nar = second.nar_name(one).await;
    assert_eq!(second.body(&nar).await.unwrap(), corpus.nar(one));
    corpus.substituted("from-read-only", &second.url(), one);
    assert_eq!(upstream.nars(), asked, "nothing is asked for that could not be kept");
    let page = client.get(second.agent("/granary/v1/status")).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("serving") && page.contains("the disk is read-only"), "{page}");
    let lines = ["granary_mirror_disk_read_only 1", "granary_mirror_full 0", "granary_mirror_front_ready 1"];
    second.has_metrics(&lines).await;
    let push = async || {
        let url = format!("{}/nar/{}.nar.xz", second.url(), "0".repeat(52));
        client.put(url).bearer_auth(TOKEN).body("a NAR").send().await.unwrap().status()
    };
    assert_eq!(push().await, StatusCode::INSUFFICIENT_STORAGE);
    let log = second.log();
    assert_eq!(log.matches("the disk is read-only: serving what is there").count(), 1, "{log}");
    // The pod's first container has nothing left to do, and says no word about the disk.
    let owner = format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid());
    let (code, _, error) = run(&["prepare", text(&second.site.tree()), "--owner", &owner]);
    assert_eq!(code, Some(0), "{error}");

    disk.try_remount("rw").unwrap();
    let all = |report: &Report| {
        report.artifacts == 2
            && report.refused_total == 0
            && report.upkeep.capacity.as_ref().is_some_and(|capacity| !capacity.read_only)
    };
    second.until("recovered", all).await;
    assert_eq!(push().await, StatusCode::CREATED);
    assert!(!second.site.tree().join(".granary/tmp/7").exists(), "what had to wait is done");
    second.verified(&corpus.key);
}
