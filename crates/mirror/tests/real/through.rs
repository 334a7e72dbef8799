//! Pull-through: a mirror that starts with nothing, the real nginx, and the real Nix.

use std::sync::Arc;
use std::time::Duration;

use granary_nix::{Hash, NarInfo, SecretKey};
use reqwest::{Client, StatusCode};

use super::support::{
    Artifact, Corpus, Mirror, Nix, Site, Upstream, client, config, eventually, folder, noise, run, text,
    tools,
};

/// An application and its closure: a large library, a small one, and what both need.
fn artifacts() -> Vec<Artifact> {
    let base = Artifact::new("base-1.0", 0, b"everybody needs it".to_vec(), &[]);
    let large = Artifact::new("large-1.0", 0, noise(5 << 20), &[&base]);
    let small = Artifact::new("small-1.0", 0, noise(200_000), &[&base]);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&large, &small, &base]);
    vec![base, large, small, app]
}

struct Scene {
    // The first to go: its log is in the folder.
    mirror: Mirror,
    client: Client,
    artifacts: Vec<Artifact>,
    corpus: Corpus,
    upstream: Upstream,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn start() -> Self {
        let (folder, client, artifacts) = (folder(), client(), artifacts());
        let corpus = Corpus::make(folder.path(), &artifacts);
        let upstream = Upstream::serve(&corpus.cache).await;
        let site = Site::new(folder.path(), "through");
        let config = config(&site, &upstream.url, &corpus.key, "pullThrough: {maxSize: 1Gi}");
        let mirror = Mirror::run(site, &config);
        let scene = Self { mirror, client, artifacts, corpus, upstream, folder };
        scene.ready().await;
        scene
    }

    async fn ready(&self) {
        let health = format!("{}/granary/v1/healthz", self.mirror.url());
        eventually("nginx answers", async || {
            self.client.get(&health).send().await.ok().filter(|answer| answer.status() == 200).map(drop)
        })
        .await;
        eventually("the agent answers", async || {
            self.client.get(self.mirror.agent("/healthz")).send().await.ok()
        })
        .await;
    }

    /// Starts it on the same disk. The old one, when it is dropped, ends the nginx that it finds.
    async fn restart(&mut self) -> Mirror {
        let Site { name, base, http, agent } = &self.mirror.site;
        let site = Site { name: name.clone(), base: base.clone(), http: *http, agent: *agent };
        let config = site.base.join("config.yaml");
        let old = std::mem::replace(&mut self.mirror, Mirror::run(site, &config));
        self.ready().await;
        old
    }

    fn app(&self) -> &Artifact {
        self.artifacts.last().unwrap()
    }

    /// The application and its closure come into an empty store.
    fn substitute(&self, name: &str) {
        // With a home of its own, as on another machine: Nix remembers narinfos there.
        let nix = Nix::new(&self.folder.path().join(name));
        let output = nix.substitute(name, &self.mirror.url(), &self.corpus.key, &self.app().path);
        assert!(
            output.status.success(),
            "{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.mirror.log()
        );
        for artifact in &self.artifacts {
            let content = nix.read(name, &format!("{}/content", artifact.path));
            assert!(content == artifact.content, "{}", artifact.path);
        }
    }

    async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}/{path}", self.mirror.url())).send().await.unwrap()
    }

    async fn published(&self, count: u64) {
        self.mirror.until(&self.client, "everything is published", |report| report.artifacts == count).await;
    }

    /// The tree is a valid cache.
    fn verify(&self) -> String {
        let (code, out, error) =
            run(&["verify", text(&self.mirror.site.tree()), "--public-key", &self.corpus.key]);
        assert_eq!(code, Some(0), "{out}{error}");
        error
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nix_substitutes_what_nobody_wanted_before_and_again_when_the_upstream_is_gone() {
    if !tools() {
        return;
    }
    let scene = Scene::start().await;
    scene.substitute("first");
    scene.published(4).await;
    assert_eq!(scene.upstream.nars(), 4, "each NAR file once");

    scene.upstream.down(true);
    scene.substitute("second");
    assert_eq!(scene.upstream.nars(), 4);
    assert!(scene.verify().contains("4 artifacts"));

    // What is not here may exist.
    let other = format!("{}.narinfo", "0".repeat(32));
    let answer = scene.get(&other).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    scene.upstream.down(false);
    let absent = eventually("the upstream is asked again", async || {
        Some(scene.get(&other).await.status()).filter(|status| *status != 503)
    })
    .await;
    assert_eq!(absent, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn dozens_of_clients_at_once_cost_the_upstream_one_fetch_for_each_nar() {
    if !tools() {
        return;
    }
    let scene = Arc::new(Scene::start().await);
    let clients = (0..24).map(|number| {
        let scene = Arc::clone(&scene);
        tokio::task::spawn_blocking(move || scene.substitute(&format!("client-{number}")))
    });
    for client in futures::future::join_all(clients).await {
        client.unwrap();
    }
    assert_eq!(scene.upstream.nars(), 4, "{}", scene.mirror.log());
    scene.published(4).await;
    scene.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_nar_comes_the_tree_is_valid_and_goes_on() {
    if !tools() {
        return;
    }
    let mut scene = Scene::start().await;
    let large = &scene.artifacts[1];
    let (narinfo, nar) = (format!("{}.narinfo", large.hash_part()), scene.corpus.narinfo(large).url);
    assert_eq!(scene.get(&narinfo).await.status(), 200);
    scene.upstream.slow(true);
    let mut body = scene.get(&nar).await;
    assert_eq!(body.status(), 200);
    assert_eq!(body.headers()["accept-ranges"], "bytes");
    assert!(body.content_length().is_some() && body.headers().contains_key("etag"));
    body.chunk().await.unwrap().unwrap();
    scene.mirror.kill();
    scene.verify();
    let cut = async {
        while body.chunk().await?.is_some() {}
        Ok::<_, reqwest::Error>(())
    };
    assert!(cut.await.is_err(), "a body that is not whole does not end well");

    scene.upstream.slow(false);
    let _old = scene.restart().await;
    scene.substitute("after");
    scene.published(4).await;
    scene.verify();
    let parts = scene.upstream.parts();
    assert!(matches!(parts[..], [start] if start > 0), "what had come is not fetched again: {parts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_serves_by_itself_is_an_access() {
    if !tools() {
        return;
    }
    let mut scene = Scene::start().await;
    scene.substitute("first");
    scene.published(4).await;
    assert_eq!(scene.mirror.stop(), Some(0), "{}", scene.mirror.log());
    let state = scene.mirror.site.tree().join(".granary");
    let hour = |hash: &str| {
        let text = std::fs::read_to_string(state.join("access/hours")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(hash)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{hash} is not in {text}")).trim().parse::<u32>().unwrap()
    };
    let [_, large, small, _] = &scene.artifacts[..] else { unreachable!() };
    let (large, small) = (large.hash_part().to_owned(), small.hash_part().to_owned());
    assert_eq!(hour(&large), 0, "it has run for less than an hour");
    std::fs::write(state.join("access/hours"), format!("clock 3600000\n{large} 7\n{small} 7\n")).unwrap();

    let _old = scene.restart().await;
    // By its narinfo the one, by its NAR file the other.
    let paths = [format!("{large}.narinfo"), scene.corpus.narinfo(&scene.artifacts[2]).url];
    for path in paths {
        eventually("nginx writes it down", async || {
            assert_eq!(scene.get(&path).await.status(), 200);
            let record = std::fs::read_to_string(state.join("front/access.log")).ok()?;
            record.contains(path.trim_end_matches(".narinfo")).then_some(())
        })
        .await;
    }
    assert_eq!(scene.mirror.stop(), Some(0), "{}", scene.mirror.log());
    assert_eq!((hour(&large), hour(&small)), (1000, 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_agent_it_serves_what_it_has_and_sends_clients_on_for_the_rest() {
    if !tools() {
        return;
    }
    let mut scene = Scene::start().await;
    let [base, large, small, app] = &scene.artifacts[..] else { unreachable!() };
    let narinfo = |artifact: &Artifact| format!("{}.narinfo", artifact.hash_part());
    // One of them is here, and its closure.
    let nix = Nix::new(&scene.folder.path().join("before"));
    let got = nix.substitute("before", &scene.mirror.url(), &scene.corpus.key, &small.path);
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    scene.published(2).await;
    let paths = [narinfo(app), narinfo(large), narinfo(base), scene.corpus.narinfo(large).url];
    scene.mirror.kill();

    // Nobody knows whether there is one: at a 5xx a Nix before 2.32 would fail the whole build.
    for path in &paths[..2] {
        assert_eq!(scene.get(path).await.status(), StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(scene.get(&paths[2]).await.status(), StatusCode::OK);
    // A NAR file that a narinfo has named is there: the client comes again.
    let away = scene.get(&paths[3]).await;
    assert_eq!(away.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(away.headers().contains_key("retry-after"));

    // A build gets it from the next substituter.
    let nix = Nix::new(&scene.folder.path().join("after"));
    let both = format!("{} {}", scene.mirror.url(), scene.upstream.url);
    let got = nix.substitute("after", &both, &scene.corpus.key, &scene.app().path);
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    assert_eq!(nix.read("after", &format!("{}/content", scene.app().path)), scene.app().content);

    // With the agent back, it is here.
    let _old = scene.restart().await;
    eventually("it is asked for again", async || {
        let url = format!("{}/{}", scene.mirror.url(), paths[0]);
        let answer = scene.client.get(url).send().await.ok()?;
        (answer.status() == StatusCode::OK).then_some(())
    })
    .await;
}

/// Far more look-ups than go on at once, at an upstream that takes long for each, so that the last would wait for longer than
/// nginx does: nobody is told that there is no such narinfo.
#[tokio::test(flavor = "multi_thread")]
async fn look_ups_that_would_wait_too_long_are_to_be_tried_again_and_are_not_absent() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let key = SecretKey::from_seed("test-1", &[7; 32]).unwrap();
    let cache = folder.path().join("cache");
    std::fs::create_dir(&cache).unwrap();
    let names: Vec<String> = (0..600).map(|number| format!("{number:0>32}")).collect();
    for name in &names {
        let text = format!(
            "StorePath: /nix/store/{name}-x\nURL: nar/{name}.nar\nCompression: none\nNarHash: {}\nNarSize: 9\nReferences: \n",
            Hash::of(name.as_bytes())
        );
        let info: NarInfo = text.parse().unwrap();
        let text = format!("{text}Sig: {}\n", key.sign(&info.fingerprint()));
        std::fs::write(cache.join(format!("{name}.narinfo")), text).unwrap();
    }
    let upstream = Upstream::serve(&cache).await;
    let site = Site::new(folder.path(), "through");
    let public = key.public_key().to_string();
    let config = config(&site, &upstream.url, &public, "pullThrough: {maxSize: 1Gi}");
    let mirror = Mirror::run(site, &config);
    mirror.synced(&client).await;

    let ask = async |name: &String| {
        let answer = client.get(format!("{}/{name}.narinfo", mirror.url())).send().await.unwrap();
        let retry = answer.headers().contains_key("retry-after");
        (answer.status(), retry, answer.text().await.unwrap())
    };
    upstream.think(Duration::from_secs(4));
    let all = futures::future::join_all(names.iter().map(ask)).await;
    let mut waited = 0;
    for (status, retry, words) in all {
        if status != StatusCode::OK {
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{words}");
            // The agent's word, before nginx gives it up.
            assert!(retry && words.contains("not all upstreams answer"), "{words}");
            waited += 1;
        }
    }
    assert!(waited > 0, "they were all answered at once");
    upstream.think(Duration::ZERO);
    for name in &names {
        assert_eq!(ask(name).await.0, StatusCode::OK, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_does_not_make_nginx_say_that_there_is_no_narinfo() {
    if !tools() {
        return;
    }
    let scene = Scene::start().await;
    let [base, large, ..] = &scene.artifacts[..] else { unreachable!() };
    let narinfo = |artifact: &Artifact| format!("{}.narinfo", artifact.hash_part());
    assert_eq!(scene.get(&narinfo(base)).await.status(), StatusCode::OK);
    let catalog = scene.mirror.site.tree().join(".granary/catalog").join(narinfo(base));
    eventually("it is in the catalog", async || catalog.exists().then_some(())).await;
    scene.mirror.hang();
    let answer = scene.get(&narinfo(large)).await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(scene.get(&narinfo(base)).await.status(), StatusCode::OK, "what is here is answered");
}
