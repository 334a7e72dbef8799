//! `nix copy --to http://…` into a mirror, through the real nginx; and clients that do it wrong.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Output;

use http::StatusCode;

use super::support::{
    AS_JSON, Artifact, Corpus, Mirror, Site, Upstream, client, config, eventually, folder, line_of, lines,
    noise, run, text, tools,
};

pub(super) const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A mirror that takes pushes, and a store that has what is pushed.
pub(super) struct Fixture {
    pub(super) corpus: Corpus,
    pub(super) library: Artifact,
    pub(super) app: Artifact,
    pub(super) mirror: Mirror,
    pub(super) client: reqwest::Client,
    pub(super) folder: tempfile::TempDir,
    _upstream: Upstream,
}

impl Fixture {
    pub(super) async fn start(quota: &str) -> Self {
        let (folder, client) = (folder(), client());
        let library = Artifact::new("library-1.0", 0, noise(3_000_000), &[]);
        let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
        let own = Artifact::new("own-1.0", 0, b"the mirror's own".to_vec(), &[]);
        let artifacts = [library, app, own];
        let corpus = Corpus::make(folder.path(), &artifacts);
        let [library, app, own] = artifacts;
        let upstream = Upstream::serve(&corpus.cache).await;
        let site = Site::new(folder.path(), "lan");
        let tokens = site.base.join("tokens");
        fs::write(&tokens, format!("# who may push\nci:{TOKEN}\n")).unwrap();
        let more = format!(
            "storePaths: ['{}']\npush: {{tokenFile: '{}', maxSize: {quota}, publicKeys: ['{}']}}",
            own.path,
            tokens.display(),
            corpus.key
        );
        let config = config(&site, &upstream.url, &corpus.key, &more);
        let mirror = Mirror::run_with(site, &config, &[AS_JSON]);
        mirror.synced(&client).await;
        Self { corpus, library, app, mirror, client, folder, _upstream: upstream }
    }

    /// `nix copy` of the application to the mirror, with this token in a netrc file. `options` stand in the store's address.
    fn copy(&self, token: &str, options: &str) -> Output {
        let netrc = self.folder.path().join("netrc");
        fs::write(&netrc, format!("machine 127.0.0.1\nlogin nix\npassword {token}\n")).unwrap();
        let mut copy = self.corpus.nix.command("nix");
        copy.args(["copy", "--no-check-sigs", "--option", "netrc-file"]).arg(&netrc);
        copy.arg("--from").arg(self.folder.path().join("store"));
        copy.args(["--to", &format!("{}?compression=zstd{options}", self.mirror.url()), &self.app.path]);
        copy.output().unwrap()
    }

    fn signed(&self) -> String {
        format!("&secret-key={}", self.folder.path().join("key.sec").display())
    }

    pub(super) async fn put(&self, path: &str, body: Vec<u8>) -> (StatusCode, String) {
        let request = self.client.put(format!("{}/{path}", self.mirror.url())).bearer_auth(TOKEN).body(body);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub(super) async fn status(&self, path: &str) -> StatusCode {
        self.client.head(format!("{}/{path}", self.mirror.url())).send().await.unwrap().status()
    }

    /// The narinfo as Nix wrote it, and its NAR file's bytes and name.
    pub(super) fn pair(&self, artifact: &Artifact) -> (String, Vec<u8>, String) {
        let narinfo = self.corpus.cache.join(format!("{}.narinfo", artifact.hash_part()));
        (fs::read_to_string(narinfo).unwrap(), self.corpus.nar(artifact), self.corpus.narinfo(artifact).url)
    }

    pub(super) fn incoming(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.mirror.site.tree().join(".granary/incoming")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    pub(super) fn is_visible(&self, artifact: &Artifact) -> bool {
        self.mirror.site.tree().join(format!("{}.narinfo", artifact.hash_part())).exists()
    }
}

fn failed(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{error}");
    error
}

/// As a pass tells of what it publishes and refuses.
#[tokio::test]
async fn each_pushed_artifact_has_one_line_in_the_log() {
    if !tools() {
        return;
    }
    let fixture = Fixture::start("50Mi").await;
    let Fixture { library, app, mirror, client, .. } = &fixture;
    let (narinfo, nar, url) = fixture.pair(library);
    assert_eq!(fixture.put(&url, nar.clone()).await.0, StatusCode::CREATED);
    let name = |artifact: &Artifact| format!("{}.narinfo", artifact.hash_part());
    assert_eq!(fixture.put(&name(library), narinfo.into()).await.0, StatusCode::CREATED);
    let (narinfo, mut bad, url) = fixture.pair(app);
    bad[60] ^= 1;
    assert_eq!(fixture.put(&url, bad).await.0, StatusCode::CREATED);
    let (status, words) = fixture.put(&name(app), narinfo.into()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{words}");
    // What cannot even be read is told by its hash part.
    let unreadable = "0".repeat(32);
    let (status, _) = fixture.put(&format!("{unreadable}.narinfo"), b"x".to_vec()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

    let lines = lines(&mirror.log());
    let published = line_of(&lines, &library.path);
    assert_eq!((&published["message"], &published["source"]), (&"published".into(), &"push by ci".into()));
    assert_eq!(published["bytes"], nar.len());
    for (path, reason) in [(&app.path, "file-hash"), (&unreadable, "bad-narinfo")] {
        let line = line_of(&lines, path);
        assert_eq!((&line["message"], &line["reason"]), (&"refused".into(), &reason.into()), "{line}");
        assert_eq!(line["source"], "push by ci");
        assert!(line["fault"].as_str().is_some_and(|fault| !fault.is_empty()), "{line}");
    }

    // A pass, which looks at nothing that was pushed, does not make it forgotten.
    let last = mirror.report(client).await.unwrap().policies[0].last_pass.clone();
    let after = mirror.until(client, "a pass ends", |report| report.policies[0].last_pass != last).await;
    let refused: Vec<_> = after.refused.iter().map(|refusal| refusal.store_path.as_str()).collect();
    assert_eq!(refused, [unreadable.as_str(), app.path.as_str()]);
}

#[tokio::test]
async fn nix_copies_to_it_and_another_store_substitutes_from_it() {
    if !tools() {
        return;
    }
    let fixture = Fixture::start("50Mi").await;
    let Fixture { corpus, library, app, mirror, .. } = &fixture;

    // Without the token, and without a signature: refused, in words.
    let error = failed(&fixture.copy("0123456789abcdef0123456789abcdee", &fixture.signed()));
    assert!(error.contains("401") && error.contains("with a token only"), "{error}");
    assert!(fixture.incoming().is_empty() && !fixture.is_visible(library));
    let error = failed(&fixture.copy(TOKEN, ""));
    assert!(error.contains("422") && error.contains("unsigned: "), "{error}");
    assert!(!fixture.is_visible(library) && !fixture.is_visible(app));
    assert!(fixture.incoming().is_empty(), "what is refused for good does not wait");

    let copied = fixture.copy(TOKEN, &fixture.signed());
    assert!(copied.status.success(), "{}\n{}", String::from_utf8_lossy(&copied.stderr), mirror.log());
    assert!(fixture.is_visible(library) && fixture.is_visible(app) && fixture.incoming().is_empty());
    let narinfo =
        fs::read_to_string(mirror.site.tree().join(format!("{}.narinfo", library.hash_part()))).unwrap();
    let nar = narinfo.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap();
    assert_eq!(fixture.status(nar).await, StatusCode::OK);

    let got = corpus.nix.substitute("other", &mirror.url(), &corpus.key, &app.path);
    assert!(got.status.success(), "{}", String::from_utf8_lossy(&got.stderr));
    assert_eq!(corpus.nix.read("other", &format!("{}/content", library.path)), library.content);

    // Everything once more, with listings, which are not too late.
    let options = format!("{}&write-nar-listing=true", fixture.signed());
    let again = fixture.copy(TOKEN, &options);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let report = mirror.report(&fixture.client).await.unwrap();
    assert_eq!(report.artifacts, 3, "{report:?}");
    let metrics = fixture.client.get(mirror.agent("/metrics")).send().await.unwrap().text().await.unwrap();
    for line in [
        "granary_mirror_pushed_total 2",
        "granary_mirror_push_refused_total{reason=\"unauthorized\"} 1",
        "granary_mirror_push_refused_total{reason=\"invalid\"} 1",
    ] {
        assert!(metrics.lines().any(|have| have == line), "{line} is not in\n{metrics}");
    }
    assert!(!mirror.log().contains(TOKEN), "no secret is logged");

    // Passes leave it in place, and the tree is a valid cache.
    let kept = mirror.site.tree().join(".granary/kept").join(app.hash_part());
    assert_eq!(fs::read_to_string(kept).unwrap(), "push ci\n");
    let (code, out, error) = run(&["verify", text(&mirror.site.tree()), "--public-key", &corpus.key]);
    assert_eq!(code, Some(0), "{out}{error}");
}

#[tokio::test]
async fn what_is_pushed_is_verified_and_never_takes_the_place_of_what_is_here() {
    if !tools() {
        return;
    }
    let fixture = Fixture::start("50Mi").await;
    let Fixture { library, app, mirror, client, .. } = &fixture;
    let (narinfo, nar, url) = fixture.pair(library);
    let name = format!("{}.narinfo", library.hash_part());

    // Its NAR is not here; its reference is not here; it is about another path.
    let (status, words) = fixture.put(&name, narinfo.clone().into()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(words.contains("has not been uploaded"), "{words}");
    let (app_narinfo, app_nar, app_url) = fixture.pair(app);
    let app_name = format!("{}.narinfo", app.hash_part());
    assert_eq!(fixture.put(&app_url, app_nar.clone()).await.0, StatusCode::CREATED);
    let (status, words) = fixture.put(&app_name, app_narinfo.clone().into()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(words.contains(&format!("{} is not here; push that first", library.path)), "{words}");
    let (status, words) = fixture.put(&name, app_narinfo.clone().into()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("wrong-path"), "{words}");

    // A flipped bit.
    let mut flipped = nar.clone();
    flipped[1_000_000] ^= 1;
    assert_eq!(fixture.put(&url, flipped).await.0, StatusCode::CREATED);
    let (status, words) = fixture.put(&name, narinfo.clone().into()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("file-hash"), "{words}");
    assert!(!fixture.is_visible(library));
    let record = mirror.site.tree().join(format!(".granary/quarantine/{}.json", library.hash_part()));
    let report = mirror.report(client).await.unwrap();
    assert!(
        record.exists() || report.refused.iter().any(|refusal| refusal.source == "push by ci"),
        "{report:?}"
    );

    // The right bytes, in chunks; then it is there, and may be sent again.
    let chunks: Vec<Result<Vec<u8>, std::io::Error>> =
        nar.chunks(100_000).map(|chunk| Ok(chunk.to_vec())).collect();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let request = client.put(format!("{}/{url}", mirror.url())).basic_auth("x", Some(TOKEN)).body(body);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(fixture.status(&name).await, StatusCode::NOT_FOUND, "a NAR file alone shows nothing");
    assert_eq!(fixture.status(&url).await, StatusCode::NOT_FOUND);
    let (status, words) = fixture.put(&name, narinfo.clone().into()).await;
    assert_eq!(status, StatusCode::CREATED, "{words}");
    assert_eq!(fixture.status(&url).await, StatusCode::OK);
    assert_eq!(fixture.put(&url, nar).await.0, StatusCode::CREATED);
    assert_eq!(fixture.put(&name, narinfo.clone().into()).await.0, StatusCode::OK);
    assert_eq!(fixture.put(&app_name, app_narinfo.into()).await.0, StatusCode::CREATED);

    // Another build of the same path, signed as well.
    let secret = fs::read_to_string(fixture.folder.path().join("key.sec")).unwrap();
    let key: granary_nix::SecretKey = secret.trim().parse().unwrap();
    let mut other: granary_nix::NarInfo = narinfo.parse().unwrap();
    other.nar_hash = granary_nix::Hash::of(b"another build");
    other.sigs = vec![key.sign(&other.fingerprint())];
    let (status, words) = fixture.put(&name, other.to_text().into()).await;
    assert!(status == StatusCode::CONFLICT && words.contains("is here with other content"), "{words}");

    // What is no artifact is not taken, and nothing else is as it was without push.
    for path in ["nix-cache-info", "log/x.drv", ".granary/id", "nar/.hidden", "x"] {
        assert_eq!(fixture.put(path, b"x".to_vec()).await.0, StatusCode::METHOD_NOT_ALLOWED, "{path}");
    }
    let url = format!("{}/{name}", mirror.url());
    assert_eq!(
        client.delete(&url).bearer_auth(TOKEN).send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(
        client.post(&url).bearer_auth(TOKEN).send().await.unwrap().status(),
        StatusCode::METHOD_NOT_ALLOWED
    );
    assert_eq!(client.put(&url).body("x").send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_client_that_dies_in_the_middle_leaves_nothing() {
    if !tools() {
        return;
    }
    let fixture = Fixture::start("50Mi").await;
    let Fixture { library, mirror, .. } = &fixture;
    let (_, nar, url) = fixture.pair(library);
    let mut socket = TcpStream::connect(("127.0.0.1", mirror.site.http)).unwrap();
    let length = nar.len();
    write!(
        socket,
        "PUT /{url} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\
         Expect: 100-continue\r\n\r\n"
    )
    .unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    socket.write_all(&nar[..length / 2]).unwrap();
    let half = || {
        let sizes = fixture.incoming().into_iter().filter_map(|path| Some(fs::metadata(path).ok()?.len()));
        sizes.sum::<u64>()
    };
    eventually("half of it is streamed through nginx", async || (half() > 1_000_000).then_some(())).await;
    assert_eq!(fixture.status(&url).await, StatusCode::NOT_FOUND);
    drop(socket);
    eventually("the half is removed", async || fixture.incoming().is_empty().then_some(())).await;
    assert!(!fixture.is_visible(library));

    let copied = fixture.copy(TOKEN, &fixture.signed());
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert!(fixture.is_visible(library));
}

#[tokio::test]
async fn over_its_quota_a_push_is_refused_in_words_and_serving_goes_on() {
    if !tools() {
        return;
    }
    let fixture = Fixture::start("1Mi").await;
    let error = failed(&fixture.copy(TOKEN, &fixture.signed()));
    assert!(error.contains("413") && error.contains("push.maxSize is used up: 1.0 MiB are left"), "{error}");
    assert!(fixture.incoming().is_empty() && !fixture.is_visible(&fixture.library));
    assert_eq!(fixture.status("nix-cache-info").await, StatusCode::OK);
}
