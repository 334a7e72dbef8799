//! HTTPS: HTTP/2, beside plain HTTP or alone, with a certificate that is replaced while it is used.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use reqwest::Client;

use super::support::{
    Artifact, Authority, Mirror, Scene, Site, TOKEN, client, eventually, free_port, succeeded, takes_pushes,
    wants,
};

/// A mirror with HTTPS, before it starts.
struct Secure {
    scene: Scene,
    authority: Authority,
    site: Site,
    data: Artifact,
    port: u16,
    files: (PathBuf, PathBuf),
}

impl Secure {
    async fn new() -> Option<Self> {
        let data = Artifact::sized("data-1.0", 300_000);
        let scene = Scene::of(std::slice::from_ref(&data)).await?;
        let files = (scene.path().join("tls.crt"), scene.path().join("tls.key"));
        let (authority, site) = (Authority::new(scene.path()), scene.site("lan"));
        Some(Self { scene, authority, site, data, port: free_port(), files })
    }

    fn put(&self, certificate: &[u8], key: &[u8]) {
        for (path, content) in [(&self.files.0, certificate), (&self.files.1, key)] {
            let new = path.with_extension("new");
            std::fs::write(&new, content).unwrap();
            std::fs::rename(new, path).unwrap();
        }
    }

    /// Plain HTTP at this address.
    fn plain_at(&self, address: &str) -> String {
        format!("'{address}:{}'", self.site.http)
    }

    /// Writes the configuration; `http` is how plain HTTP is set.
    fn write(&self, http: &str, more: &str) {
        let more = format!(
            "{}\ntls: {{certificate: '{}', key: '{}'}}\n{}\n\
             listen: {{http: {http}, https: '127.0.0.1:{}', agent: '127.0.0.1:{}'}}\n{more}",
            wants(&[&self.data]),
            self.files.0.display(),
            self.files.1.display(),
            self.site.front_apart(),
            self.port,
            self.site.agent,
        );
        self.scene.write(&self.site, &more);
    }

    fn run(&self) -> Mirror {
        Mirror::run(self.site.clone())
    }

    /// nginx's master process.
    fn nginx(&self) -> Option<nix::unistd::Pid> {
        let text = std::fs::read_to_string(self.site.base.join("front/nginx.pid")).ok()?;
        text.trim().parse().ok().map(nix::unistd::Pid::from_raw)
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
    let Some(secure) = Secure::new().await else { return };
    let (first, second) = (secure.authority.issue("first"), secure.authority.issue("second"));
    secure.put(&first.0, &first.1);
    secure.write(&secure.plain_at("127.0.0.1"), "");
    let mirror = secure.run();
    mirror.synced().await;

    // Both, and HTTP/2; a real Nix, whose trust is set.
    let https = secure.authority.client();
    let narinfo = secure.url(&secure.data.narinfo());
    let one = shown(&https, &narinfo).await.unwrap();
    assert_eq!(mirror.get("nix-cache-info").await.version(), http::Version::HTTP_11);
    let stranger = Client::new().get(&narinfo).send().await;
    assert!(stranger.is_err(), "the certificate is that of the test's authority");
    let nix = &secure.scene.corpus.nix;
    let substitute = |name: &str, bundle: &Path| {
        let mut command =
            nix.substitution(name, &secure.url(""), &secure.scene.corpus.key, &secure.data.path);
        command.env("NIX_SSL_CERT_FILE", bundle).output().unwrap()
    };
    succeeded(&substitute("good", &secure.authority.bundle()));
    nix.has("good", &secure.data);

    // Half of a new pair, and then what is no certificate at all, changes nothing, even when nginx reads its files again.
    let metric = async |name: &str| {
        let text = mirror.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("granary_mirror_{name} ")));
        line.map(str::to_owned)
    };
    let usable = async |value: &str| {
        eventually("the metric follows", async || {
            metric("tls_certificate_usable").await.filter(|now| now == value)
        })
        .await;
    };
    usable("1").await;
    let expires = metric("tls_certificate_expiry_timestamp_seconds").await.unwrap();
    for (certificate, key) in [(&second.0, &first.1), (&b"nonsense".to_vec(), &second.1)] {
        let told = mirror.log().matches("the new certificate is not taken").count();
        secure.put(certificate, key);
        eventually("the refusal is told", async || {
            (mirror.log().matches("the new certificate is not taken").count() > told).then_some(())
        })
        .await;
        usable("0").await;
        nix::sys::signal::kill(secure.nginx().unwrap(), nix::sys::signal::Signal::SIGHUP).unwrap();
        assert_eq!(shown(&https, &narinfo).await.unwrap(), one);
    }
    assert!(!mirror.log().contains("PRIVATE KEY"));

    // A crash in this state: nginx starts again with the pair that was good.
    let before = secure.nginx().unwrap();
    nix::sys::signal::kill(before, nix::sys::signal::Signal::SIGKILL).unwrap();
    let again = eventually("nginx is back", async || {
        (secure.nginx() != Some(before)).then_some(())?;
        shown(&https, &narinfo).await
    });
    assert_eq!(again.await, one);

    // The whole of the new pair.
    let master = secure.nginx();
    secure.put(&second.0, &second.1);
    let two = eventually("the new certificate is shown", async || {
        shown(&https, &narinfo).await.filter(|shown| *shown != one)
    });
    two.await;
    assert_eq!(secure.nginx(), master, "without a restart");
    usable("1").await;
    assert!(expires.parse::<u64>().unwrap() > 1_600_000_000, "{expires}");
    let copies = || std::fs::read_dir(secure.site.base.join("front/tls")).unwrap().count();
    eventually("keys that are no longer used do not stay", async || (copies() == 2).then_some(())).await;
}

#[tokio::test]
async fn https_alone_waits_for_its_certificate() {
    let Some(secure) = Secure::new().await else { return };
    secure.write("null", "");
    let mirror = secure.run();
    let plain = client();
    let ready = async || plain.get(mirror.agent("/readyz")).send().await.ok().map(|answer| answer.status());
    let waiting = eventually("the agent says that it cannot serve", async || {
        ready()
            .await
            .filter(|status| *status == 503)
            .and(mirror.log().contains("so there is no HTTPS").then_some(()))
    });
    waiting.await;
    let pair = secure.authority.issue("late");
    secure.put(&pair.0, &pair.1);
    let https = secure.authority.client();
    eventually("HTTPS answers", async || shown(&https, &secure.url("nix-cache-info")).await).await;
    eventually("the agent is ready", async || ready().await.filter(reqwest::StatusCode::is_success)).await;
    assert!(plain.get(mirror.url()).send().await.is_err(), "there is no plain HTTP");
    for old in ["-tls1", "-tls1_1"] {
        let mut openssl = Command::new("openssl");
        openssl.args(["s_client", old, "-cipher", "ALL:@SECLEVEL=0", "-connect"]);
        openssl.arg(format!("127.0.0.1:{}", secure.port)).stdin(Stdio::null());
        assert!(!openssl.output().unwrap().status.success(), "{old}");
    }
}

#[tokio::test]
async fn a_token_that_came_over_plain_http_is_refused_beside_https() {
    let Some(secure) = Secure::new().await else { return };
    let pair = secure.authority.issue("push");
    secure.put(&pair.0, &pair.1);
    // Everybody can reach it over plain HTTP.
    let push = takes_pushes(secure.scene.path(), "50Mi", &secure.scene.corpus.key);
    secure.write(&secure.plain_at("0.0.0.0"), &push);
    let mirror = secure.run();
    let (plain, https) = (client(), secure.authority.client());
    mirror.synced().await;
    eventually("HTTPS answers", async || shown(&https, &secure.url("nix-cache-info")).await).await;

    let narinfo = format!("{}.narinfo", "0".repeat(32));
    for path in ["nar/x.nar", &narinfo, &secure.data.narinfo()] {
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
        (secure.url("nar/x.nar"), TOKEN, 201),
        (secure.url("nar/x.nar"), "another", 401),
        (secure.url(&narinfo), TOKEN, 422),
    ] {
        let answer = https.put(&url).bearer_auth(token).body("x").send().await.unwrap();
        assert_eq!(answer.status(), status, "{url}: {}", answer.text().await.unwrap());
    }
    assert_eq!(mirror.status(&secure.data.narinfo()).await, 200, "reading needs no token");

    // Where something in front of it speaks TLS, the file says so.
    secure.write(
        &secure.plain_at("0.0.0.0"),
        &push.replace("maxSize: 50Mi", "maxSize: 50Mi, allowPlainHttp: true"),
    );
    eventually("it is taken", async || {
        let request = plain.put(format!("{}/nar/y.nar", mirror.url())).bearer_auth(TOKEN).body("x");
        (request.send().await.ok()?.status() == 201).then_some(())
    })
    .await;
}
