//! Real clients: the machine's own nix and newer ones, each through everything that a mirror is asked for.

use std::process::{Output, Stdio};

use super::support::{
    Artifact, Corpus, Cutter, Mirror, Nix, Site, Upstream, Version, client, config, eventually, folder,
    map_of, noise, tools,
};

/// Every compression that nix makes and Granary reads.
const COMPRESSIONS: [&str; 10] =
    ["none", "xz", "zstd", "bzip2", "gzip", "br", "compress", "lzip", "lzma", "lz4"];

/// Clients at once.
const DOZENS: usize = 24;

macro_rules! versions {
    ($($name:ident: $version:expr;)*) => {$(
        mod $name {
            use super::*;

            async fn with<F: Future<Output = ()>>(test: impl FnOnce(Version) -> F) {
                if tools() && let Some(version) = $version {
                    test(version).await;
                }
            }

            #[tokio::test]
            async fn substitutes_every_compression() {
                with(every_compression).await;
            }

            #[tokio::test]
            async fn looks_into_the_mirror_and_copies_from_it() {
                with(looking_and_copying).await;
            }

            #[tokio::test]
            async fn gets_a_closure_through_a_cut_and_past_a_mirrors_line() {
                with(cut_and_line).await;
            }

            #[tokio::test]
            async fn copies_to_the_mirror_what_another_store_gets_from_there() {
                with(pushing).await;
            }

            #[tokio::test]
            async fn comes_in_dozens_at_once() {
                with(dozens).await;
            }
        }
    )*};
}

versions! {
    nix_of_this_machine: Some(Version::machine());
    nix_of_debian_13: Version::by("GRANARY_NIX_TRIXIE");
    nix_of_debian_unstable: Version::by("GRANARY_NIX_SID");
}

/// A mirror of everything in the corpus.
async fn mirror_of(base: &std::path::Path, corpus: &Corpus, paths: &[&str]) -> Mirror {
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(base, "lan");
    let config = config(&site, &upstream.url, &corpus.key, &format!("storePaths: {paths:?}"));
    let mirror = Mirror::run(site, &config);
    let report = mirror.synced(&client()).await;
    assert_eq!(report.refused_total, 0, "{report:?}");
    // From now on there is only the mirror.
    upstream.down(true);
    mirror
}

fn succeeded(output: &Output, mirror: &Mirror) {
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), mirror.log());
}

async fn every_compression(version: Version) {
    let folder = folder();
    let artifact = |compression: &'static str| {
        let content = [noise(60_000), vec![b'a'; 60_000]].concat();
        (Artifact::new(&format!("data-{compression}"), 0, content, &[]), compression)
    };
    let artifacts = COMPRESSIONS.map(artifact);
    let corpus = Corpus::compressed(folder.path(), version, &artifacts);
    for (artifact, compression) in &artifacts {
        assert_eq!(corpus.narinfo(artifact).compression.to_string(), *compression);
    }
    let paths = artifacts.each_ref().map(|(artifact, _)| artifact.path.as_str());
    let mirror = mirror_of(folder.path(), &corpus, &paths).await;
    let other = "test-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    for (artifact, compression) in &artifacts {
        let wrong = corpus.nix.substitute("wrong", &mirror.url(), other, &artifact.path);
        assert!(!wrong.status.success(), "{compression}: the signatures are checked");
        let got = corpus.nix.substitute("right", &mirror.url(), &corpus.key, &artifact.path);
        succeeded(&got, &mirror);
        assert_eq!(
            corpus.nix.read("right", &format!("{}/content", artifact.path)),
            artifact.content,
            "{compression}"
        );
    }
}

/// An application and the library that it needs.
fn two() -> [Artifact; 2] {
    let library = Artifact::new("library-1.0", 0, noise(600_000), &[]);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
    [library, app]
}

async fn looking_and_copying(version: Version) {
    let folder = folder();
    let artifacts = two();
    let [library, app] = &artifacts;
    let corpus =
        Corpus::compressed(folder.path(), version, &artifacts.clone().map(|artifact| (artifact, "xz")));
    let mirror = mirror_of(folder.path(), &corpus, &[&app.path]).await;
    let (nix, url) = (&corpus.nix, mirror.url());

    let sizes = nix.ask(&["path-info", "--store", &url, "--recursive", "--size", "--sigs", &app.path]);
    for artifact in &artifacts {
        let info = corpus.narinfo(artifact);
        let line = sizes.lines().find(|line| line.starts_with(&artifact.path)).unwrap_or_default();
        assert!(line.contains(&info.nar_size.to_string()) && line.contains("\ttest-1:"), "{sizes}");
    }
    let listed = nix.ask(&["store", "ls", "--store", &url, "--long", &app.path]);
    assert!(listed.contains("content") && listed.contains("references"), "{listed}");
    let read = nix.ask(&["store", "cat", "--store", &url, &format!("{}/content", app.path)]);
    assert_eq!(read, "an application");

    // The closure into an empty store, with the signatures checked, and what was copied is whole.
    let (to, key) = (nix.store("copied"), format!("trusted-public-keys = {}\n", corpus.key));
    let to = to.to_str().unwrap();
    let unsigned = nix.command("nix").args(["copy", "--from", &url, "--to", to, &app.path]).output().unwrap();
    assert!(!unsigned.status.success(), "the key is not trusted yet");
    nix.configure(&key);
    nix.ask(&["copy", "--from", &url, "--to", to, &app.path]);
    assert_eq!(nix.read("copied", &format!("{}/content", library.path)), library.content);
    nix.ask(&["store", "verify", "--store", to, "--recursive", "--sigs-needed", "1", &app.path]);

    // A plain cache that nix makes of the mirror is one that Granary calls clean.
    let cache = folder.path().join("again");
    nix.ask(&["copy", "--from", &url, "--to", &format!("file://{}", cache.display()), &app.path]);
    let (code, out, error) =
        super::support::run(&["verify", cache.to_str().unwrap(), "--public-key", &corpus.key]);
    assert_eq!(code, Some(0), "{out}{error}");
}

async fn cut_and_line(version: Version) {
    let (folder, http) = (folder(), client());
    let artifacts = two();
    let [library, app] = &artifacts;
    let corpus =
        Corpus::compressed(folder.path(), version, &artifacts.clone().map(|artifact| (artifact, "zstd")));
    let upstream = Upstream::serve(&corpus.cache).await;
    let [site, other] = ["a-0", "b-0"].map(|name| Site::new(folder.path(), name));
    let map = folder.path().join("map.json");
    std::fs::write(&map, map_of(1, &[&site, &other], 2, &[&app.path]).map().to_json()).unwrap();
    let config = config(&site, &upstream.url, &corpus.key, &format!("map: {{file: '{}'}}", map.display()));
    let mirror = Mirror::run(site, &config);
    mirror.synced(&http).await;
    upstream.down(true);

    // What nix gets has the line, which it does not know.
    let narinfo = format!("{}/{}.narinfo", mirror.url(), library.hash_part());
    let line = format!("\nMirrors: {}\n", other.url());
    eventually("the line", async || {
        let answer = http.get(&narinfo).header("User-Agent", "curl/8 Nix/2.8").send().await.ok()?;
        answer.text().await.ok()?.ends_with(&line).then_some(())
    })
    .await;

    let cutter = Cutter::start(mirror.site.http, 300_000).await;
    let (url, key, path) = (cutter.url.clone(), corpus.key.clone(), app.path.clone());
    let (corpus, got) = tokio::task::spawn_blocking(move || {
        let got = corpus.nix.substitute("cut", &url, &key, &path);
        (corpus, got)
    })
    .await
    .unwrap();
    succeeded(&got, &mirror);
    assert_eq!(corpus.nix.read("cut", &format!("{}/content", library.path)), library.content);
    let asked = cutter.nars();
    let resumed = asked.iter().filter(|head| head.contains("\r\nrange: bytes=")).count();
    assert_eq!((asked.len(), resumed), (3, 1), "the rest, and not all of it once more: {asked:?}");
}

async fn pushing(version: Version) {
    let (folder, http) = (folder(), client());
    let [library, app] = two();
    let own = Artifact::new("own-1.0", 0, b"the mirror's own".to_vec(), &[]);
    let artifacts = [library, app, own];
    let corpus =
        Corpus::compressed(folder.path(), version, &artifacts.clone().map(|artifact| (artifact, "zstd")));
    let [library, app, own] = &artifacts;
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let token = "0123456789abcdef0123456789abcdef";
    let (tokens, netrc) = (site.base.join("tokens"), folder.path().join("netrc"));
    std::fs::write(&tokens, format!("ci:{token}\n")).unwrap();
    std::fs::write(&netrc, format!("machine 127.0.0.1\nlogin nix\npassword {token}\n")).unwrap();
    let more = format!(
        "storePaths: ['{}']\npush: {{tokenFile: '{}', maxSize: 50Mi, publicKeys: ['{}']}}",
        own.path,
        tokens.display(),
        corpus.key
    );
    let config = config(&site, &upstream.url, &corpus.key, &more);
    let mirror = Mirror::run(site, &config);
    mirror.synced(&http).await;
    let to = format!("{}?compression=xz&secret-key={}", mirror.url(), corpus.secret.display());
    let mut copy = corpus.nix.command("nix");
    copy.args(["copy", "--no-check-sigs", "--option", "netrc-file"]).arg(&netrc);
    copy.arg("--from").arg(&corpus.root).args(["--to", &to, &app.path]);
    succeeded(&copy.output().unwrap(), &mirror);
    upstream.down(true);
    succeeded(&corpus.nix.substitute("other", &mirror.url(), &corpus.key, &app.path), &mirror);
    assert_eq!(corpus.nix.read("other", &format!("{}/content", library.path)), library.content);
}

async fn dozens(version: Version) {
    let folder = folder();
    let artifacts = two();
    let [library, app] = &artifacts;
    let corpus =
        Corpus::compressed(folder.path(), version, &artifacts.clone().map(|artifact| (artifact, "xz")));
    let mirror = mirror_of(folder.path(), &corpus, &[&app.path]).await;
    let start = |number: usize| {
        // Each with a home of its own, so that none finds what another one remembers.
        let nix = Nix::of(&folder.path().join(format!("client-{number}")), corpus.nix.version.clone());
        let mut command = nix.substitution("store", &mirror.url(), &corpus.key, &app.path);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        (nix, child)
    };
    let clients: Vec<_> = (0..DOZENS).map(start).collect();
    for (nix, child) in clients {
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        succeeded(&output, &mirror);
        assert_eq!(nix.read("store", &format!("{}/content", library.path)), library.content);
    }
}
