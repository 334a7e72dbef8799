//! A LAN mirror from one file: agent and nginx in one, the real Nix in front.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{
    Artifact, Corpus, Mirror, Site, Upstream, client, config, eventually, folder, noise, run, text, tools,
};

/// An application, a library that it needs, and something that nobody asked for.
fn artifacts() -> Vec<Artifact> {
    let library = Artifact::new("library-1.0", 0, noise(300_000), &[]);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
    let other = Artifact::new("other-1.0", 0, b"not wanted".to_vec(), &[]);
    vec![library, app, other]
}

#[tokio::test]
async fn nix_substitutes_from_it_with_signature_checks_on() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let artifacts = artifacts();
    let [library, app, other] = &artifacts[..] else { unreachable!() };
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let config = config(&site, &upstream.url, &corpus.key, &format!("storePaths: ['{}']", app.path));
    let mut mirror = Mirror::run(site, &config);

    let report = mirror.synced(&client).await;
    assert_eq!((report.artifacts, report.epoch, report.refused_total), (2, 0, 0), "{report:?}");
    let files = (corpus.nar(library).len() + corpus.nar(app).len()) as u64;
    assert_eq!(report.bytes, files);
    assert_eq!((report.policies[0].assigned, report.policies[0].verified), (2, 2));
    assert!(report.front_ready && report.verified_at.is_some() && report.upstreams[0].ok, "{report:?}");
    assert_eq!(report.disk.len(), 32);

    // With the upstream gone, everything comes from here.
    upstream.down(true);
    let nix = &corpus.nix;
    let wrong = nix.substitute(
        "wrong",
        &mirror.url(),
        "test-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
        &app.path,
    );
    assert!(!wrong.status.success(), "the signatures are checked");
    let good = nix.substitute("good", &mirror.url(), &corpus.key, &app.path);
    assert!(good.status.success(), "{}\n{}", String::from_utf8_lossy(&good.stderr), mirror.log());
    assert_eq!(nix.read("good", &format!("{}/content", app.path)), app.content);
    assert_eq!(nix.read("good", &format!("{}/content", library.path)), library.content);
    let unwanted =
        client.get(format!("{}/{}.narinfo", mirror.url(), other.hash_part())).send().await.unwrap();
    assert_eq!(unwanted.status(), 404);

    let get = async |path: &str| client.get(mirror.agent(path)).send().await.unwrap();
    assert_eq!(get("/healthz").await.status(), 200);
    assert_eq!(get("/readyz").await.status(), 200);
    let metrics = get("/metrics").await.text().await.unwrap();
    for line in ["granary_mirror_artifacts 2", "granary_mirror_front_ready 1", "granary_mirror_refused 0"] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }

    // One directory belongs to one mirror.
    let (code, _, error) = run(&["sync", "--config", text(&config)]);
    assert_eq!(code, Some(1));
    assert!(error.contains("in use"), "{error}");

    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());
    assert!(client.get(mirror.url()).send().await.is_err(), "nginx has ended too");
    let (code, out, error) = run(&["verify", text(&mirror.site.tree()), "--public-key", &corpus.key]);
    assert_eq!(code, Some(0), "{out}{error}");
}

#[tokio::test]
async fn it_waits_for_an_upstream_that_is_down() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let artifacts = artifacts();
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    upstream.down(true);
    let site = Site::new(folder.path(), "lan");
    let config = config(&site, &upstream.url, &corpus.key, &format!("storePaths: ['{}']", artifacts[1].path));
    let mirror = Mirror::run(site, &config);
    let trouble = |report: &super::support::Report| report.upstreams.iter().any(|upstream| !upstream.ok);
    let report = mirror.until(&client, "the upstream's trouble is told", trouble).await;
    assert!(!report.policies.iter().any(|policy| policy.synced), "{report:?}");
    upstream.down(false);
    assert_eq!(mirror.synced(&client).await.artifacts, 2);
    let nginx = mirror.nginx();

    // The file is followed. A mistake in it changes nothing.
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, before.replace("storePaths", "storePath")).unwrap();
    eventually("the mistake is told", async || {
        mirror.log().contains("unknown field `storePath`").then_some(())
    })
    .await;
    std::fs::write(
        &config,
        before.replace(&artifacts[1].path, &format!("{}', '{}", artifacts[1].path, artifacts[2].path)),
    )
    .unwrap();
    mirror.until(&client, "the third is wanted too", |report| report.artifacts == 3).await;
    assert_eq!(mirror.nginx(), nginx);
}

/// As in a pod: made ready by root, then two processes without any right, which share one folder besides the data.
#[tokio::test]
async fn agent_and_front_run_apart_and_without_rights() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let artifacts = artifacts();
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "apart");
    let front = site.base.join("run/front");
    let more = format!("storePaths: ['{}']\nfrontDirectory: '{}'", artifacts[1].path, front.display());
    let config = config(&site, &upstream.url, &corpus.key, &more);
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
    let program = folder.path().join("granary-mirror");
    // By another process: a file that this one has open for writing cannot be started, and a test beside this one may
    // just be handing it to a child.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_granary-mirror")).arg(&program).status().unwrap();
    assert!(copied.success());
    let start = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        let log = File::create(folder.path().join(format!("{}.log", arguments[0]))).unwrap();
        Running(command.args(arguments).uid(uid).gid(gid).current_dir("/").stderr(log).spawn().unwrap())
    };
    // In either order: the front waits for the files.
    let mut processes = [
        start(&["front", "--dir", text(&front)]),
        start(&["agent", "--config", text(&config), "--log-format", "json"]),
    ];
    let narinfo = format!("{}/{}.narinfo", site.url(), artifacts[1].hash_part());
    eventually("the artifact is served", async || {
        let answer = client.get(&narinfo).send().await.ok()?;
        (answer.status() == 200).then_some(())
    })
    .await;
    let nix = corpus.nix.substitute("apart", &site.url(), &corpus.key, &artifacts[1].path);
    assert!(nix.status.success(), "{}", String::from_utf8_lossy(&nix.stderr));
    for process in &mut processes {
        assert_eq!(process.stop(), Some(0));
    }
    assert!(client.get(&narinfo).send().await.is_err());
}

/// A process that ends with the test.
struct Running(Child);

impl Running {
    fn stop(&mut self) -> Option<i32> {
        // It may have ended by itself.
        let _ = kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM);
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            self.stop();
        }
    }
}

#[tokio::test]
async fn what_is_on_the_disk_is_served_while_it_is_read_what_that_is() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let artifacts = artifacts();
    let [library, app, other] = &artifacts[..] else { unreachable!() };
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let config = config(&site, &upstream.url, &corpus.key, &format!("storePaths: ['{}']", app.path));
    let same = Site { name: site.name.clone(), base: site.base.clone(), ..site };
    let mut mirror = Mirror::run(site, &config);
    mirror.synced(&client).await;
    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());
    // Whoever opens it for reading waits until somebody writes: a disk that takes its time.
    let slow = same.tree().join(format!("{}.narinfo", other.hash_part()));
    nix::unistd::mkfifo(&slow, nix::sys::stat::Mode::S_IRWXU).unwrap();

    let mirror = Mirror::run(same, &config);
    let status = async |url: String| Some(client.get(url).send().await.ok()?.status().as_u16());
    let narinfo = |artifact: &Artifact| format!("{}/{}.narinfo", mirror.url(), artifact.hash_part());
    eventually("nginx serves", async || (status(narinfo(app)).await? == 200).then_some(())).await;
    assert_eq!(status(narinfo(library)).await, Some(200));
    assert_eq!(corpus.nix.substitute("early", &mirror.url(), &corpus.key, &app.path).status.code(), Some(0));
    assert_eq!(status(mirror.agent("/healthz")).await, Some(200), "it is alive");
    assert_eq!(status(mirror.agent("/readyz")).await, Some(503));
    assert_eq!(status(mirror.agent("/granary/v1/report")).await, Some(503));
    drop(File::options().write(true).open(&slow).unwrap());
    std::fs::remove_file(&slow).unwrap();
    mirror.synced(&client).await;
    assert_eq!(status(mirror.agent("/readyz")).await, Some(200));
}
