//! HTTPS: HTTP/2, beside plain HTTP or alone, with a certificate that is replaced while it is used.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Client;

use super::support::{
    Artifact, Corpus, Mirror, Site, Upstream, client, config, eventually, folder, free_port, noise, tools,
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Certificates for 127.0.0.1 by an authority of the test's own.
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    pub fn new(base: &Path) -> Self {
        let folder = base.join("authority");
        std::fs::create_dir(&folder).unwrap();
        let this = Self { folder };
        this.openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", "ca.key", "-out", "ca.crt", "-days", "30", "-subj", "/CN=Test authority"],
        );
        this
    }

    fn openssl(&self, first: &[&str], rest: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(first).args(rest).current_dir(&self.folder).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn bundle(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// A certificate and its key, PEM.
    pub fn issue(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let (request, key, certificate) =
            (format!("{name}.csr"), format!("{name}.key"), format!("{name}.crt"));
        std::fs::write(self.folder.join("extensions"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        self.openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", &key, "-out", &request, "-subj", &format!("/CN={name}")],
        );
        self.openssl(
            &["x509", "-req", "-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key"],
            &["-CAcreateserial", "-out", &certificate, "-days", "20", "-extfile", "extensions"],
        );
        let read = |name: &str| std::fs::read(self.folder.join(name)).unwrap();
        (read(&certificate), read(&key))
    }

    /// A client that trusts this authority and keeps no connection, so that each answer shows the certificate of now.
    fn client(&self) -> Client {
        drop(client());
        let authority = reqwest::Certificate::from_pem(&std::fs::read(self.bundle()).unwrap()).unwrap();
        Client::builder()
            .tls_certs_only([authority])
            .tls_info(true)
            .pool_max_idle_per_host(0)
            .build()
            .unwrap()
    }
}

struct Scene {
    corpus: Corpus,
    authority: Authority,
    site: Site,
    data: Artifact,
    port: u16,
    files: (PathBuf, PathBuf),
    _upstream: Upstream,
    upstream: String,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let folder = folder();
        let artifacts = [Artifact::new("data-1.0", 0, noise(300_000), &[])];
        let corpus = Corpus::make(folder.path(), &artifacts);
        let upstream = Upstream::serve(&corpus.cache).await;
        let [data] = artifacts;
        let site = Site::new(folder.path(), "lan");
        let files = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        let authority = Authority::new(folder.path());
        let url = upstream.url.clone();
        Self {
            corpus,
            authority,
            site,
            data,
            port: free_port(),
            files,
            _upstream: upstream,
            upstream: url,
            folder,
        }
    }

    fn put(&self, certificate: &[u8], key: &[u8]) {
        for (path, content) in [(&self.files.0, certificate), (&self.files.1, key)] {
            let new = path.with_extension("new");
            std::fs::write(&new, content).unwrap();
            std::fs::rename(new, path).unwrap();
        }
    }

    /// The configuration; `http` is how plain HTTP is set.
    fn config(&self, http: &str) -> PathBuf {
        let more = format!(
            "storePaths: ['{}']\ntls: {{certificate: '{}', key: '{}'}}\nfrontDirectory: '{}'",
            self.data.path,
            self.files.0.display(),
            self.files.1.display(),
            self.folder.path().join("front").display(),
        );
        let path = config(&self.site, &self.upstream, &self.corpus.key, &more);
        let plain = format!("http: '127.0.0.1:{}'", self.site.http);
        let text = std::fs::read_to_string(&path).unwrap();
        let both = format!("{http}, https: '127.0.0.1:{}'", self.port);
        std::fs::write(&path, text.replace(&plain, &both)).unwrap();
        path
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.port)
    }
}

/// The certificate that the server shows, and that the answer is good.
async fn shown(client: &Client, url: &str) -> Option<Vec<u8>> {
    let answer = client.get(url).send().await.ok()?.error_for_status().ok()?;
    assert_eq!(answer.version(), http::Version::HTTP_2);
    answer.extensions().get::<reqwest::tls::TlsInfo>()?.peer_certificate().map(<[u8]>::to_vec)
}

#[tokio::test]
async fn a_certificate_is_replaced_while_it_is_used_and_a_bad_one_is_not_taken() {
    if !tools() {
        return;
    }
    let scene = Scene::new().await;
    let (first, second) = (scene.authority.issue("first"), scene.authority.issue("second"));
    scene.put(&first.0, &first.1);
    let plain = client();
    let path = scene.config(&format!("http: '127.0.0.1:{}'", scene.site.http));
    let site = Site { base: scene.site.base.clone(), name: "lan".into(), ..scene.site };
    let mirror = Mirror::run(site, &path);
    mirror.synced(&plain).await;

    // Both, and HTTP/2; a real Nix, whose trust is set.
    let https = scene.authority.client();
    let narinfo = scene.url(&format!("{}.narinfo", scene.data.hash_part()));
    let one = shown(&https, &narinfo).await.unwrap();
    let over = plain.get(format!("{}/nix-cache-info", mirror.url())).send().await.unwrap();
    assert_eq!(over.version(), http::Version::HTTP_11);
    let stranger = Client::new().get(&narinfo).send().await;
    assert!(stranger.is_err(), "the certificate is that of the test's authority");
    let nix = &scene.corpus.nix;
    let substitute = |name: &str, bundle: &Path| {
        let mut command = nix.substitution(name, &scene.url(""), &scene.corpus.key, &scene.data.path);
        command.env("NIX_SSL_CERT_FILE", bundle).output().unwrap()
    };
    let got = substitute("good", &scene.authority.bundle());
    assert!(got.status.success(), "{}\n{}", String::from_utf8_lossy(&got.stderr), mirror.log());
    assert_eq!(nix.read("good", &format!("{}/content", scene.data.path)), scene.data.content);

    // Half of a new pair, and then what is no certificate at all, changes nothing, even when nginx reads its files again.
    let metric = async |name: &str| {
        let text = plain.get(mirror.agent("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("granary_mirror_{name} ")));
        line.map(str::to_owned)
    };
    assert_eq!(metric("tls_certificate_usable").await.as_deref(), Some("1"));
    let expires = metric("tls_certificate_expiry_timestamp_seconds").await.unwrap();
    for (certificate, key) in [(&second.0, &first.1), (&b"nonsense".to_vec(), &second.1)] {
        let told = mirror.log().matches("the new certificate is not taken").count();
        scene.put(certificate, key);
        eventually("the refusal is told", async || {
            (mirror.log().matches("the new certificate is not taken").count() > told).then_some(())
        })
        .await;
        assert_eq!(metric("tls_certificate_usable").await.as_deref(), Some("0"));
        nix::sys::signal::kill(nginx(&scene).unwrap(), nix::sys::signal::Signal::SIGHUP).unwrap();
        assert_eq!(shown(&https, &narinfo).await.unwrap(), one);
    }
    assert!(!mirror.log().contains("PRIVATE KEY"));

    // A crash in this state: nginx starts again with the pair that was good.
    let before = nginx(&scene).unwrap();
    nix::sys::signal::kill(before, nix::sys::signal::Signal::SIGKILL).unwrap();
    let again = eventually("nginx is back", async || {
        (nginx(&scene) != Some(before)).then_some(())?;
        shown(&https, &narinfo).await
    });
    assert_eq!(again.await, one);

    // The whole of the new pair.
    let master = nginx(&scene);
    scene.put(&second.0, &second.1);
    let two = eventually("the new certificate is shown", async || {
        shown(&https, &narinfo).await.filter(|shown| *shown != one)
    });
    two.await;
    assert_eq!(nginx(&scene), master, "without a restart");
    assert_eq!(metric("tls_certificate_usable").await.as_deref(), Some("1"));
    assert!(expires.parse::<u64>().unwrap() > 1_600_000_000, "{expires}");
    let copies = std::fs::read_dir(scene.folder.path().join("front/tls")).unwrap().count();
    assert_eq!(copies, 2, "keys that are no longer used do not stay");
}

fn nginx(scene: &Scene) -> Option<nix::unistd::Pid> {
    let text = std::fs::read_to_string(scene.folder.path().join("front/nginx.pid")).ok()?;
    text.trim().parse().ok().map(nix::unistd::Pid::from_raw)
}

#[tokio::test]
async fn https_alone_waits_for_its_certificate() {
    if !tools() {
        return;
    }
    let scene = Scene::new().await;
    let path = scene.config("http: null");
    let site = Site { base: scene.site.base.clone(), name: "lan".into(), ..scene.site };
    let mirror = Mirror::run(site, &path);
    let plain = client();
    let ready = async || plain.get(mirror.agent("/readyz")).send().await.ok().map(|answer| answer.status());
    let waiting = eventually("the agent says that it cannot serve", async || {
        ready()
            .await
            .filter(|status| *status == 503)
            .and(mirror.log().contains("so there is no HTTPS").then_some(()))
    });
    waiting.await;
    let pair = scene.authority.issue("late");
    scene.put(&pair.0, &pair.1);
    let https = scene.authority.client();
    eventually("HTTPS answers", async || shown(&https, &scene.url("nix-cache-info")).await).await;
    eventually("the agent is ready", async || ready().await.filter(reqwest::StatusCode::is_success)).await;
    assert!(plain.get(mirror.url()).send().await.is_err(), "there is no plain HTTP");
    for old in ["-tls1", "-tls1_1"] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", old, "-cipher", "ALL:@SECLEVEL=0", "-connect"]);
        openssl.arg(format!("127.0.0.1:{}", scene.port)).stdin(Stdio::null());
        assert!(!openssl.output().unwrap().status.success(), "{old}");
    }
}

#[tokio::test]
async fn a_token_that_came_over_plain_http_is_refused_beside_https() {
    if !tools() {
        return;
    }
    let scene = Scene::new().await;
    let pair = scene.authority.issue("push");
    scene.put(&pair.0, &pair.1);
    let tokens = scene.folder.path().join("tokens");
    std::fs::write(&tokens, format!("ci:{TOKEN}\n")).unwrap();
    // Everybody can reach it over plain HTTP.
    let path = scene.config(&format!("http: '0.0.0.0:{}'", scene.site.http));
    let push = format!(
        "push: {{tokenFile: '{}', maxSize: 50Mi, publicKeys: ['{}']}}\n",
        tokens.display(),
        scene.corpus.key
    );
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}{push}")).unwrap();
    let site = Site { base: scene.site.base.clone(), name: "lan".into(), ..scene.site };
    let mirror = Mirror::run(site, &path);
    let (plain, https) = (client(), scene.authority.client());
    mirror.synced(&plain).await;
    eventually("HTTPS answers", async || shown(&https, &scene.url("nix-cache-info")).await).await;

    let narinfo = format!("{}.narinfo", "0".repeat(32));
    for path in ["nar/x.nar", &narinfo, &format!("{}.narinfo", scene.data.hash_part())] {
        let url = format!("{}/{path}", mirror.url());
        let answer = plain.put(url).bearer_auth(TOKEN).body("x").send().await.unwrap();
        assert_eq!(answer.status(), 403, "{path}");
        let words = answer.text().await.unwrap();
        // Nix shows what has less than 1,024 bytes.
        assert!(words.contains("https:// only") && words.contains("token") && words.len() < 1024, "{words}");
    }
    let incoming = mirror.site.tree().join(".granary/incoming");
    assert_eq!(std::fs::read_dir(&incoming).unwrap().count(), 0);
    for (url, token, status) in [
        (scene.url("nar/x.nar"), TOKEN, 201),
        (scene.url("nar/x.nar"), "another", 401),
        (scene.url(&narinfo), TOKEN, 422),
    ] {
        let answer = https.put(&url).bearer_auth(token).body("x").send().await.unwrap();
        assert_eq!(answer.status(), status, "{url}: {}", answer.text().await.unwrap());
    }
    let read =
        plain.get(format!("{}/{}.narinfo", mirror.url(), scene.data.hash_part())).send().await.unwrap();
    assert_eq!(read.status(), 200, "reading needs no token");

    // Where something in front of it speaks TLS, the file says so.
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("maxSize: 50Mi", "maxSize: 50Mi, allowPlainHttp: true")).unwrap();
    eventually("it is taken", async || {
        let request = plain.put(format!("{}/nar/y.nar", mirror.url())).bearer_auth(TOKEN).body("x");
        (request.send().await.ok()?.status() == 201).then_some(())
    })
    .await;
}
