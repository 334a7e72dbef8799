//! A mirror in a network that lets nobody out but a proxy: the real tinyproxy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::guarded::Guarded;
use super::support::{
    Artifact, Mirror, Running, Scene, Site, config, eventually, folder, free_port, run, text, wants,
};

/// Whether it is there. Fails when it must be.
fn tinyproxy() -> bool {
    let there = Command::new("tinyproxy").arg("-v").output().is_ok();
    let required = std::env::var_os("GRANARY_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(there || !required, "tinyproxy must be installed (GRANARY_REQUIRE_TOOLS=1)");
    there
}

/// tinyproxy, ended with the value.
struct Proxy {
    _process: Running,
    log: PathBuf,
    port: u16,
}

impl Proxy {
    async fn start(base: &Path) -> Self {
        let (port, log) = (free_port(), base.join("proxy.log"));
        let file = base.join("proxy.conf");
        let text = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nLogFile \"{}\"\nLogLevel Connect\nMaxClients 100\n",
            log.display()
        );
        fs::write(&file, text).unwrap();
        let output = File::create(base.join("proxy.out")).unwrap();
        let process = Running::start(Command::new("tinyproxy").args(["-d", "-c"]).arg(&file).stdout(output));
        eventually("the proxy listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Self { _process: process, log, port }
    }

    /// The requests that it was sent, such as `GET http://…` and `CONNECT host:443`.
    fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        let request = |line: &str| Some(line.split_once("): ")?.1.to_owned());
        log.lines().filter(|line| line.contains("Request (")).filter_map(request).collect()
    }
}

/// What is served, and by whom it may be asked.
struct Network {
    artifacts: [Artifact; 2],
    scene: Scene,
    proxy: Proxy,
}

impl Network {
    async fn new() -> Option<Self> {
        let artifacts = ["wanted-1.0", "listed-1.0"].map(|name| Artifact::sized(name, 100_000));
        let scene = Scene::of(&artifacts).await.filter(|_| tinyproxy())?;
        scene.corpus.list("stable", &[&artifacts[1]]);
        let proxy = Proxy::start(scene.path()).await;
        Some(Self { artifacts, scene, proxy })
    }

    /// A mirror that keeps one artifact, and a channel with the other.
    async fn mirror(&self, name: &str, except: &str) -> Mirror {
        let [wanted, listed] = &self.artifacts;
        let more = format!(
            "{}\nchannels: [{{url: '{}/stable'}}]\nproxy: {{url: 'http://127.0.0.1:{}', except: [{except}]}}",
            wants(&[wanted]),
            self.scene.upstream.url,
            self.proxy.port
        );
        let mirror = self.scene.run_at(self.scene.site(name), &more);
        mirror.synced().await;
        for artifact in [wanted, listed] {
            let nar = self.scene.corpus.narinfo(artifact).url;
            eventually("both are here", async || mirror.body(&nar).await).await;
        }
        mirror
    }
}

#[tokio::test]
async fn upstreams_and_channels_are_asked_by_the_proxy_and_what_is_named_is_not() {
    let Some(network) = Network::new().await else { return };
    let upstream = &network.scene.upstream.url;
    let direct = network.mirror("direct", &format!("'{}'", upstream.replace("http://", ""))).await;
    assert_eq!(network.proxy.requests(), Vec::<String>::new());
    drop(direct);

    let _mirror = network.mirror("inside", "").await;
    let requests = network.proxy.requests();
    let [wanted, listed] =
        network.artifacts.each_ref().map(|artifact| network.scene.corpus.narinfo(artifact).url);
    let list = "stable/store-paths.xz".to_owned();
    for path in [network.artifacts[0].narinfo(), wanted, listed, list] {
        let request = format!("GET {upstream}/{path} ");
        assert!(requests.iter().any(|line| line.starts_with(&request)), "{request}: {requests:?}");
    }
}

#[tokio::test]
async fn https_goes_through_the_proxy_unseen() {
    let Some(network) = Network::new().await else { return };
    let (scene, wanted) = (&network.scene, wants(&[&network.artifacts[0]]));
    let served = format!("root {};\n", scene.corpus.cache.display());
    let upstream = Guarded::serve(scene.path(), &served).await;
    let more = format!(
        "{wanted}\nupstreams: [{{url: '{}', publicKeys: ['{}'], caFile: '{}'}}]\nproxy: {{url: 'http://127.0.0.1:{}'}}",
        upstream.url,
        scene.corpus.key,
        upstream.authority.display(),
        network.proxy.port
    );
    scene.synced(&more).await;
    let requests = network.proxy.requests();
    let connect = format!("CONNECT {} ", upstream.url.replace("https://", ""));
    assert!(!requests.is_empty() && requests.iter().all(|line| line.starts_with(&connect)), "{requests:?}");
}

#[test]
fn a_proxy_that_is_away_is_named() {
    let folder = folder();
    let site = Site::new(folder.path(), "inside");
    let proxy = format!("http://127.0.0.1:{}", free_port());
    let key = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    let path = "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60";
    let more = format!("storePaths: [{path}]\nproxy: {{url: '{proxy}'}}");
    let config = config(&site, "https://cache.example.org", key, &more);
    let (code, _, error) = run(&["sync", "--config", text(&config)]);
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("by the proxy {proxy}: ")), "{error}");
}
