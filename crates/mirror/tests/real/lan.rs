//! A LAN mirror from one file: agent and nginx in one, the real Nix in front.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use super::support::{
    Artifact, Mirror, Report, Running, Scene, eventually, library_and_app, run, succeeded, text, wants,
};

/// A library, an application that needs it, and something that nobody asked for.
fn artifacts() -> [Artifact; 3] {
    let [library, app] = library_and_app(300_000);
    let other = Artifact::new("other-1.0", 0, b"not wanted".to_vec(), &[]);
    [library, app, other]
}

#[tokio::test]
async fn nix_substitutes_from_it_with_signature_checks_on() {
    let artifacts = artifacts();
    let [library, app, other] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (corpus, client) = (&scene.corpus, &scene.client);
    let mut mirror = scene.run(&wants(&[app]));

    let report = mirror.synced().await;
    assert_eq!((report.artifacts, report.epoch, report.refused_total), (2, 0, 0), "{report:?}");
    let files = (corpus.nar(library).len() + corpus.nar(app).len()) as u64;
    assert_eq!(report.bytes, files);
    assert_eq!((report.policies[0].assigned, report.policies[0].verified), (2, 2));
    assert!(report.front_ready && report.verified_at.is_some() && report.upstreams[0].ok, "{report:?}");
    assert_eq!(report.disk.len(), 32);

    // With the upstream gone, everything comes from here.
    scene.upstream.down(true);
    let nix = &corpus.nix;
    let wrong = nix.substitute(
        "wrong",
        &mirror.url(),
        "test-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
        &app.path,
    );
    assert!(!wrong.status.success(), "the signatures are checked");
    corpus.substituted("good", &mirror.url(), app);
    nix.has("good", library);
    assert_eq!(mirror.status(&other.narinfo()).await, 404);

    assert_eq!(client.get(mirror.agent("/healthz")).send().await.unwrap().status(), 200);
    mirror.ready().await;
    let lines = ["granary_mirror_artifacts 2", "granary_mirror_front_ready 1", "granary_mirror_refused 0"];
    mirror.has_metrics(&lines).await;

    // One directory belongs to one mirror.
    let (code, _, error) = run(&["sync", "--config", text(&mirror.site.config())]);
    assert_eq!(code, Some(1));
    assert!(error.contains("in use"), "{error}");

    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());
    assert!(mirror.try_get("").await.is_err(), "nginx has ended too");
    mirror.verified(&corpus.key);
}

#[tokio::test]
async fn it_waits_for_an_upstream_that_is_down() {
    let artifacts = artifacts();
    let [_, app, other] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    scene.upstream.down(true);
    let mirror = scene.run(&wants(&[app]));
    let trouble = |report: &Report| report.upstreams.iter().any(|upstream| !upstream.ok);
    let report = mirror.until("the upstream's trouble is told", trouble).await;
    assert!(!report.policies.iter().any(|policy| policy.synced), "{report:?}");
    scene.upstream.down(false);
    assert_eq!(mirror.synced().await.artifacts, 2);
    let nginx = mirror.nginx();

    // The file is followed. A mistake in it changes nothing.
    scene.write(&mirror.site, &wants(&[app]).replace("storePaths", "storePath"));
    eventually("the mistake is told", async || {
        mirror.log().contains("unknown field `storePath`").then_some(())
    })
    .await;
    scene.write(&mirror.site, &wants(&[app, other]));
    mirror.until("the third is wanted too", |report| report.artifacts == 3).await;
    assert_eq!(mirror.nginx(), nginx);
}

/// As in a pod: made ready by root, then two processes without any right, which share one folder besides the data.
#[tokio::test]
async fn agent_and_front_run_apart_and_without_rights() {
    let artifacts = artifacts();
    let app = &artifacts[1];
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let (client, site) = (&scene.client, scene.site("apart"));
    let front = site.base.join("run/front");
    let config = scene.write(&site, &format!("{}\nfrontDirectory: '{}'", wants(&[app]), front.display()));
    // Only root can become another.
    let (uid, gid) = match nix::unistd::getuid().as_raw() {
        0 => (64532, 64532),
        uid => (uid, nix::unistd::getgid().as_raw()),
    };
    let owner = format!("{uid}:{gid}");
    for directory in [site.tree(), site.base.join("run")] {
        assert_eq!(run(&["prepare", text(&directory), "--owner", &owner]).0, Some(0));
    }
    // The program may be in a folder that only its builder can enter.
    let program = scene.path().join("granary-mirror");
    // By another process: a file that this one has open for writing cannot be started, and a test beside this one may
    // just be handing it to a child.
    let mut copy = Command::new("cp");
    succeeded(&copy.arg(env!("CARGO_BIN_EXE_granary-mirror")).arg(&program).output().unwrap());
    let start = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        let log = File::create(scene.path().join(format!("{}.log", arguments[0]))).unwrap();
        Running::start(command.args(arguments).uid(uid).gid(gid).current_dir("/").stderr(log))
    };
    // In either order: the front waits for the files.
    let mut processes = [
        start(&["front", "--dir", text(&front)]),
        start(&["agent", "--config", text(&config), "--log-format", "json"]),
    ];
    let narinfo = format!("{}/{}.narinfo", site.url(), app.hash_part());
    eventually("the artifact is served", async || {
        let answer = client.get(&narinfo).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    scene.corpus.substituted("apart", &site.url(), app);
    for process in &mut processes {
        assert_eq!(process.stop(), Some(0));
    }
    assert!(client.get(&narinfo).send().await.is_err());
}

#[tokio::test]
async fn what_is_on_the_disk_is_served_while_it_is_read_what_that_is() {
    let artifacts = artifacts();
    let [library, app, other] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let client = &scene.client;
    let mut mirror = scene.synced(&wants(&[app])).await;
    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());
    // Whoever opens it for reading waits until somebody writes: a disk that takes its time.
    let slow = mirror.site.tree().join(other.narinfo());
    nix::unistd::mkfifo(&slow, nix::sys::stat::Mode::S_IRWXU).unwrap();

    let mirror = Mirror::run(mirror.site.clone());
    let status = async |url: String| Some(client.get(url).send().await.ok()?.status().as_u16());
    let narinfo = |artifact: &Artifact| format!("{}/{}", mirror.url(), artifact.narinfo());
    eventually("nginx serves", async || (status(narinfo(app)).await? == 200).then_some(())).await;
    assert_eq!(status(narinfo(library)).await, Some(200));
    scene.corpus.substituted("early", &mirror.url(), app);
    assert_eq!(status(mirror.agent("/healthz")).await, Some(200), "it is alive");
    assert_eq!(status(mirror.agent("/readyz")).await, Some(503));
    assert_eq!(status(mirror.agent("/granary/v1/report")).await, Some(503));
    drop(File::options().write(true).open(&slow).unwrap());
    std::fs::remove_file(&slow).unwrap();
    mirror.synced().await;
    mirror.ready().await;
}
