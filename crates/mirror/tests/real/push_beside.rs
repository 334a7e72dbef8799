//! Pushes of what stands beside artifacts: by the real Nix, with its order of things, and by clients that do it wrong.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use granary_mirror::tree::Tree;
use granary_nix::realisation::Realisation;
use granary_nix::{CacheInfo, HashPart, NarInfo, SecretKey};
use http::StatusCode;

use super::push::{Fixture, TOKEN};
use super::support::{Artifact, BUILD_ID, Builder, Built, Corpus, Mirror, Site, Upstream, Version, client};
use super::support::{config, eventually, folder, names, run, text, tools};

const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";
const DRV: &str = "342j0k7izm42zawjxk4hfsqsv88s5795-library-1.0.drv";

impl Fixture {
    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let answer = self.client.get(format!("{}/{path}", self.mirror.url())).send().await.unwrap();
        (answer.status(), answer.bytes().await.unwrap().into())
    }

    async fn put_encoded(&self, path: &str, encoding: &str, body: Vec<u8>) -> StatusCode {
        let request = self.client.put(format!("{}/{path}", self.mirror.url())).bearer_auth(TOKEN);
        request.header("content-encoding", encoding).body(body).send().await.unwrap().status()
    }

    /// Pushes the library, with a derivation, which no signature covers.
    async fn push_library(&self) {
        let (narinfo, nar, url) = self.pair(&self.library);
        assert_eq!(self.put(&url, nar).await.0, StatusCode::CREATED);
        let narinfo = narinfo.lines().filter(|line| !line.starts_with("Deriver:")).collect::<Vec<_>>();
        let narinfo = format!("{}\nDeriver: {DRV}\n", narinfo.join("\n"));
        let (status, words) =
            self.put(&format!("{}.narinfo", self.library.hash_part()), narinfo.into()).await;
        assert_eq!(status, StatusCode::CREATED, "{words}");
    }

    /// What the tree has under a name.
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        fs::read(self.mirror.site.tree().join(name)).ok()
    }
}

/// The listing that Nix makes of an artifact, in another cache.
fn listing(fixture: &Fixture, artifact: &Artifact) -> Vec<u8> {
    let Corpus { nix, root, secret, .. } = &fixture.corpus;
    let cache = fixture.folder.path().join("listed");
    let to = format!("file://{}?write-nar-listing=true&secret-key={}", cache.display(), secret.display());
    nix.ask(&["copy", "--no-check-sigs", "--from", text(root), "--to", &to, &artifact.path]);
    fs::read(cache.join(format!("{}.ls", artifact.hash_part()))).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

#[tokio::test]
async fn a_listing_waits_unseen_for_its_artifact_and_what_is_no_listing_of_it_is_dropped() {
    if !tools() {
        return;
    }
    let fixture = Fixture::start("50Mi").await;
    let (library, app) = (&fixture.library, &fixture.app);
    let [library_name, app_name] = [library, app].map(|artifact| format!("{}.ls", artifact.hash_part()));
    let good = listing(&fixture, library);

    let (status, words) = fixture.put(&library_name, b"<html>".to_vec()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains(&library_name), "{words}");
    assert_eq!(fixture.put_encoded(&library_name, "gzip", gzip(&good)).await, StatusCode::CREATED);
    // It is the library's, and so it is not the application's: which only the narinfo tells.
    assert_eq!(fixture.put(&app_name, good.clone()).await.0, StatusCode::CREATED);
    assert_eq!(fixture.incoming().len(), 2);
    assert_eq!(fixture.get(&library_name).await.0, StatusCode::NOT_FOUND, "nothing is seen before");
    assert!(fixture.read(&library_name).is_none());

    fixture.push_library().await;
    assert_eq!(fixture.get(&library_name).await, (StatusCode::OK, good.clone()));
    let (narinfo, nar, url) = fixture.pair(app);
    assert_eq!(fixture.put(&url, nar).await.0, StatusCode::CREATED);
    let status = fixture.put(&format!("{}.narinfo", app.hash_part()), narinfo.into()).await.0;
    assert_eq!(status, StatusCode::CREATED, "what stands beside it refuses no artifact");
    assert!(fixture.read(&app_name).is_none() && fixture.incoming().is_empty());

    // From now on they are checked at once, and what is here stays.
    let (status, words) = fixture.put(&app_name, good.clone()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("it lists a NAR of"), "{words}");
    assert_eq!(fixture.put(&app_name, listing(&fixture, app)).await.0, StatusCode::CREATED);
    assert_eq!(fixture.put(&library_name, b"{}".to_vec()).await.0, StatusCode::OK);
    assert_eq!(fixture.read(&library_name), Some(good));
    // Taken for what it is: all that is known of it is in the NAR.
    assert_eq!(
        fixture.put(&format!("debuginfo/{BUILD_ID}"), b"{}".to_vec()).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let entry = |nar: &str| {
        let member = format!("lib/debug/.build-id/{}/{}.debug", &BUILD_ID[..2], &BUILD_ID[2..]);
        format!(r#"{{"archive":"../{nar}","member":"{member}"}}"#)
    };
    let held = fs::read_to_string(fixture.mirror.site.tree().join(format!("{}.narinfo", app.hash_part())));
    let nar = held.unwrap().lines().find_map(|line| line.strip_prefix("URL: ").map(str::to_owned)).unwrap();
    let (status, words) = fixture.put(&format!("debuginfo/{BUILD_ID}"), entry(&nar).into()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("has no such debug"), "{words}");
    let long = format!("nar/{}", "n".repeat(300));
    let status = fixture.put(&format!("debuginfo/{BUILD_ID}"), entry(&long).into()).await.0;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_log_is_taken_whole_within_its_bounds_and_of_what_is_here_and_leaves_with_it() {
    if !tools() {
        return;
    }
    let mut fixture = Fixture::start("8Mi").await;
    let name = format!("log/{DRV}");
    let log = b"what the build wrote\n".repeat(1000);
    let (status, words) = fixture.put(&name, log.clone()).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(words.contains("belongs to nothing that is here"), "{words}");
    fixture.push_library().await;

    // Without the token; encoded as nobody knows, or not as it says; a bomb; over the quota, which the library counts in.
    let url = format!("{}/{name}", fixture.mirror.url());
    let put = fixture.client.put(&url).body("x").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::UNAUTHORIZED);
    for encoding in ["rot13", "gzip"] {
        assert_eq!(fixture.put_encoded(&name, encoding, log.clone()).await, StatusCode::BAD_REQUEST);
    }
    let bomb = gzip(&vec![b'x'; 30 << 20]);
    assert!(bomb.len() < 100_000);
    assert_eq!(fixture.put_encoded(&name, "gzip", bomb).await, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, words) = fixture.put(&name, vec![b'x'; 6 << 20]).await;
    assert!(status == StatusCode::PAYLOAD_TOO_LARGE && words.contains("push.maxSize is used up"), "{words}");

    // A client that dies in the middle.
    let mut socket = TcpStream::connect(("127.0.0.1", fixture.mirror.site.http)).unwrap();
    let length = 3 << 20;
    write!(
        socket,
        "PUT /{name} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\
         Expect: 100-continue\r\n\r\n"
    )
    .unwrap();
    let mut go_on = [0; 25];
    socket.read_exact(&mut go_on).unwrap();
    socket.write_all(&vec![b'x'; length / 2]).unwrap();
    let temp = fixture.mirror.site.tree().join(".granary/tmp");
    let half = || {
        let files = fs::read_dir(&temp).unwrap();
        files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum::<u64>()
    };
    eventually("half of it has come", async || (half() > 1_000_000).then_some(())).await;
    assert_eq!(fixture.get(&name).await.0, StatusCode::NOT_FOUND);
    drop(socket);
    eventually("the half is removed", async || (half() == 0).then_some(())).await;
    assert!(fixture.read(&name).is_none());

    assert_eq!(fixture.put_encoded(&name, "gzip", gzip(&log)).await, StatusCode::CREATED);
    assert_eq!(fixture.get(&name).await, (StatusCode::OK, log.clone()));
    assert_eq!(fixture.put(&name, b"another".to_vec()).await.0, StatusCode::OK);
    assert_eq!(fixture.read(&name), Some(log), "what clients have seen stays");

    // It counts, after a restart too: fewer bytes are left than the library alone would leave.
    let metrics = fixture.client.get(fixture.mirror.agent("/metrics")).send().await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let counted = "granary_mirror_extra_files_total{kind=\"log\",result=\"pushed\"} 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    assert_eq!(fixture.mirror.stop(), Some(0));
    let tree = fixture.mirror.site.tree();
    assert_eq!(fs::read_to_string(tree.join(".granary/pushed")).unwrap(), format!("{name}\n"));
    let tree = Tree::open(&tree, &CacheInfo::default()).unwrap();
    let hash: HashPart = fixture.library.hash_part().parse().unwrap();
    tree.unkeep(&hash).unwrap();
    tree.remove(&hash).unwrap();
    assert!(fixture.read(&name).is_none(), "it leaves with what it is of");
}

#[tokio::test]
async fn a_realisation_must_be_of_its_output_and_of_what_is_here_and_does_not_change() {
    if !tools() {
        return;
    }
    let fixture = Fixture::start("50Mi").await;
    let out = fixture.library.path.trim_start_matches("/nix/store/").to_owned();
    let name = format!("realisations/sha256:{HEX}!out.doi");
    let text = |out: &str, sigs: &str| {
        format!(
            r#"{{"dependentRealisations":{{}},"id":"sha256:{HEX}!out","outPath":"{out}","signatures":[{sigs}]}}"#
        )
    };
    let (status, words) = fixture.put(&name, text(&out, "").into()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && words.contains("push that first"), "{words}");
    fixture.push_library().await;

    let secret = fs::read_to_string(&fixture.corpus.secret).unwrap();
    let key: SecretKey = secret.trim().parse().unwrap();
    let forger = SecretKey::from_seed("test-1", &[9; 32]).unwrap();
    let signed = |key: &SecretKey| {
        let realisation = Realisation::parse(text(&out, "").as_bytes()).unwrap();
        text(&out, &format!("\"{}\"", key.sign(&realisation.signed_text())))
    };
    for wrong in [
        "{".to_owned(),
        text("../../etc/passwd", ""),
        text(&out, "").replace("!out", "!dev"),
        signed(&forger),
        text(&out, "")
            .replace("\"signatures\"", &format!("\"x\":\"{}\",\"signatures\"", "x".repeat(1 << 20))),
    ] {
        let status = fixture.put(&name, wrong.clone().into()).await.0;
        let refused = [StatusCode::UNPROCESSABLE_ENTITY, StatusCode::PAYLOAD_TOO_LARGE].contains(&status);
        assert!(refused && fixture.read(&name).is_none(), "{status}: {wrong:.300}");
    }
    // As Nix 2.34 spells it; signed by whom the mirror trusts.
    let spelled = name.replace('!', "%21");
    assert_eq!(fixture.put(&spelled, signed(&key).into()).await.0, StatusCode::CREATED);
    for spelled in [&name, &spelled] {
        assert_eq!(fixture.get(spelled).await, (StatusCode::OK, signed(&key).into_bytes()));
    }
    assert_eq!(fixture.put(&name, text(&out, "").into()).await.0, StatusCode::OK);
    let own = names(&fixture.mirror.site.tree());
    let own = own.iter().filter_map(|name| name.strip_suffix(".narinfo"));
    let own = own.filter(|hash| *hash != fixture.library.hash_part()).collect::<Vec<_>>();
    let own: NarInfo =
        String::from_utf8(fixture.read(&format!("{}.narinfo", own[0])).unwrap()).unwrap().parse().unwrap();
    let (status, words) = fixture.put(&name, text(own.store_path.base_name(), "").into()).await;
    assert!(status == StatusCode::CONFLICT && words.contains("names another path"), "{words}");
    assert_eq!(fixture.read(&name), Some(signed(&key).into_bytes()));

    // Most have no signature, and the artifact has its own.
    let trace = format!("build-trace-v2/{DRV}/out.doi");
    let entry = format!(r#"{{"outPath":"{out}","signatures":[]}}"#);
    assert_eq!(fixture.put(&trace, entry.clone().into()).await.0, StatusCode::CREATED);
    assert_eq!(fixture.get(&trace).await, (StatusCode::OK, entry.into_bytes()));
}

/// Copies with this version to a mirror and reads it all back from there.
async fn pushed_by(version: Version, folder: &Path, built: &Built) {
    let client = client();
    let own = Artifact::new("own-1.0", 0, b"the mirror's own".to_vec(), &[]);
    let corpus = Corpus::make(folder, std::slice::from_ref(&own));
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder, "lan");
    fs::write(site.base.join("tokens"), format!("ci:{TOKEN}\n")).unwrap();
    let more = format!(
        "storePaths: ['{}']\npush: {{tokenFile: '{}', maxSize: 50Mi, publicKeys: ['{}']}}",
        own.path,
        site.base.join("tokens").display(),
        built.key
    );
    let config = config(&site, &upstream.url, &corpus.key, &more);
    let mut mirror = Mirror::run(site, &config);
    mirror.synced(&client).await;

    let (builder, netrc) = (Builder::of(folder, version), folder.join("netrc"));
    fs::write(&netrc, format!("machine 127.0.0.1\nlogin nix\npassword {TOKEN}\n")).unwrap();
    let to = format!("{}?{}", mirror.url(), built.options());
    let nix = |command: &[&str], name: &str| {
        let words = built.copy(command, name, &to);
        let words = words.iter().map(String::as_str).chain(["--option", "netrc-file", text(&netrc)]);
        builder.nix(&words.collect::<Vec<_>>())
    };
    let early = nix(&["store", "copy-log"], "app");
    let error = String::from_utf8_lossy(&early.stderr);
    assert!(!early.status.success() && error.contains("belongs to nothing that is here"), "{error}");
    for name in ["app", "addressed"] {
        for command in [&["copy"][..], &["store", "copy-log"]] {
            let done = nix(command, name);
            let error = String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success(), "{command:?} {name}: {error}\n{}", mirror.log());
        }
    }

    // Nobody but the mirror can have what is read back.
    upstream.down(true);
    let (tree, Built { app, addressed, key, .. }) = (mirror.site.tree(), built);
    for path in [app, addressed] {
        assert!(tree.join(format!("{}.ls", &path[11..43])).is_file(), "{path}\n{}", mirror.log());
    }
    assert_eq!(names(&tree.join("log")).len(), 2);
    assert!(!names(&tree.join("realisations")).is_empty(), "{}", mirror.log());
    let index = tree.join("debuginfo").join(BUILD_ID);
    eventually("the index is made from the NAR", async || index.is_file().then_some(())).await;
    for (path, says) in [(app, "built with debug information"), (addressed, "built by its content")] {
        let log = builder.good(&["log", "--store", &mirror.url(), path]);
        assert!(log.contains(says), "{log}");
    }
    let store = folder.join("client");
    assert_eq!(builder.substitute_addressed(&store, &mirror.url(), key), *addressed);
    // Once more: everything is there.
    assert!(
        nix(&["copy"], "addressed").status.success() && nix(&["store", "copy-log"], "app").status.success()
    );
    assert!(fs::read_dir(tree.join(".granary/incoming")).unwrap().next().is_none());
    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());
    let keys = ["--public-key", key, "--public-key", &corpus.key];
    let (code, out, error) = run(&[&["verify", text(&tree)], &keys[..]].concat());
    assert_eq!(code, Some(0), "{out}{error}");
}

// The mirror's upstream has to answer while this thread waits for Nix.
#[tokio::test(flavor = "multi_thread")]
async fn nix_pushes_logs_realisations_listings_and_the_debug_index_and_reads_them_back() {
    if !tools() {
        return;
    }
    let folder = folder();
    let Some(built) = Built::make(folder.path()) else { return };
    let at = |name: &str| {
        let folder = folder.path().join(name);
        fs::create_dir(&folder).unwrap();
        folder
    };
    pushed_by(Version::machine(), &at("machine"), &built).await;
    for variable in ["GRANARY_NIX_TRIXIE", "GRANARY_NIX_SID"] {
        if let Some(version) = Version::by(variable) {
            pushed_by(version, &at(variable), &built).await;
        }
    }
}
