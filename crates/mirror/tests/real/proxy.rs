//! A mirror in a network that lets nobody out but a proxy: the real tinyproxy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use super::support::{
    Artifact, Corpus, Mirror, Site, Upstream, client, config, eventually, folder, free_port, noise, run,
    text, tools,
};
use super::tls::Authority;

/// Whether it is there beside the other tools. Fails when it must be.
fn tinyproxy() -> bool {
    let there = Command::new("tinyproxy").arg("-v").output().is_ok();
    let required = std::env::var_os("GRANARY_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(there || !required, "tinyproxy must be installed (GRANARY_REQUIRE_TOOLS=1)");
    tools() && there
}

/// tinyproxy, ended with the value.
struct Proxy {
    child: Child,
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
        let child = Command::new("tinyproxy").args(["-d", "-c"]).arg(&file).stdout(output).spawn().unwrap();
        eventually("the proxy listens", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        Self { child, log, port }
    }

    /// The requests that it was sent, such as `GET http://…` and `CONNECT host:443`.
    fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap();
        let request = |line: &str| Some(line.split_once("): ")?.1.to_owned());
        log.lines().filter(|line| line.contains("Request (")).filter_map(request).collect()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What is served, and by whom it may be asked.
struct Network {
    artifacts: [Artifact; 2],
    corpus: Corpus,
    upstream: Upstream,
    proxy: Proxy,
    folder: tempfile::TempDir,
}

impl Network {
    async fn new() -> Self {
        let folder = folder();
        let artifacts = ["wanted-1.0", "listed-1.0"].map(|name| Artifact::new(name, 0, noise(100_000), &[]));
        let corpus = Corpus::make(folder.path(), &artifacts);
        corpus.list("stable", &[&artifacts[1]]);
        let upstream = Upstream::serve(&corpus.cache).await;
        let proxy = Proxy::start(folder.path()).await;
        Self { artifacts, corpus, upstream, proxy, folder }
    }

    /// A mirror that keeps one artifact, and a channel with the other.
    async fn mirror(&self, name: &str, except: &str) -> Mirror {
        let site = Site::new(self.folder.path(), name);
        let more = format!(
            "storePaths: ['{}']\nchannels: [{{url: '{}/stable'}}]\nproxy: {{url: 'http://127.0.0.1:{}', except: [{except}]}}",
            self.artifacts[0].path, self.upstream.url, self.proxy.port
        );
        let config = config(&site, &self.upstream.url, &self.corpus.key, &more);
        let mirror = Mirror::run(site, &config);
        let client = client();
        mirror.synced(&client).await;
        for artifact in &self.artifacts {
            eventually("both are here", async || {
                let url = format!("{}/{}", mirror.url(), self.corpus.narinfo(artifact).url);
                client.head(url).send().await.ok()?.error_for_status().ok()
            })
            .await;
        }
        mirror
    }
}

#[tokio::test]
async fn upstreams_and_channels_are_asked_by_the_proxy_and_what_is_named_is_not() {
    if !tinyproxy() {
        return;
    }
    let network = Network::new().await;
    let direct =
        network.mirror("direct", &format!("'{}'", network.upstream.url.replace("http://", ""))).await;
    assert_eq!(network.proxy.requests(), Vec::<String>::new());
    drop(direct);

    let _mirror = network.mirror("inside", "").await;
    let requests = network.proxy.requests();
    let [wanted, listed] = network.artifacts.each_ref().map(|artifact| network.corpus.narinfo(artifact).url);
    let list = "stable/store-paths.xz".to_owned();
    for path in [format!("{}.narinfo", network.artifacts[0].hash_part()), wanted, listed, list] {
        let request = format!("GET {}/{path} ", network.upstream.url);
        assert!(requests.iter().any(|line| line.starts_with(&request)), "{request}: {requests:?}");
    }
}

#[tokio::test]
async fn https_goes_through_the_proxy_unseen() {
    if !tinyproxy() {
        return;
    }
    let network = Network::new().await;
    let base = network.folder.path();
    let authority = Authority::new(base);
    let (certificate, key) = authority.issue("upstream");
    let files = (base.join("tls.crt"), base.join("tls.key"));
    fs::write(&files.0, certificate).unwrap();
    fs::write(&files.1, key).unwrap();
    let server = Site::new(base, "server");
    let more = format!(
        "storePaths: ['{}']\ntls: {{certificate: '{}', key: '{}'}}\nfrontDirectory: '{}'",
        network.artifacts[0].path,
        files.0.display(),
        files.1.display(),
        base.join("front").display()
    );
    let secure = free_port();
    let file = config(&server, &network.upstream.url, &network.corpus.key, &more);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("listen: {", &format!("listen: {{https: '127.0.0.1:{secure}', "))).unwrap();
    let server = Mirror::run(server, &file);
    server.synced(&client()).await;

    let site = Site::new(base, "inside");
    let more = format!(
        "storePaths: ['{}']\nproxy: {{url: 'http://127.0.0.1:{}'}}",
        network.artifacts[0].path, network.proxy.port
    );
    let file = config(&site, &format!("https://127.0.0.1:{secure}"), &network.corpus.key, &more);
    let text = fs::read_to_string(&file).unwrap();
    let trusting =
        format!("publicKeys: ['{}'], caFile: '{}'", network.corpus.key, authority.bundle().display());
    fs::write(&file, text.replace(&format!("publicKeys: ['{}']", network.corpus.key), &trusting)).unwrap();
    let mirror = Mirror::run(site, &file);
    mirror.synced(&client()).await;
    let requests = network.proxy.requests();
    let connect = format!("CONNECT 127.0.0.1:{secure} ");
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
