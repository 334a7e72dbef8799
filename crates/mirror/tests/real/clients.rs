//! Real clients: the machine's own nix and newer ones, each through everything that a mirror is asked for.

use std::process::Stdio;
use std::sync::Arc;

use super::support::{
    Artifact, Corpus, Cutter, Mirror, Nix, Scene, TOKEN, Version, library_and_app, map_of, netrc, noise,
    succeeded, takes_pushes, text, tools, verified, wants,
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

/// A cache of these, all compressed in one way by this nix.
async fn cache(version: Version, artifacts: &[Artifact], compression: &str) -> Scene {
    let artifacts: Vec<_> = artifacts.iter().map(|artifact| (artifact.clone(), compression)).collect();
    Scene::made(|base| Corpus::compressed(base, version, &artifacts)).await.unwrap()
}

/// A mirror of these. From then on there is only the mirror.
async fn mirror_of(scene: &Scene, wanted: &[&Artifact]) -> Mirror {
    let mirror = scene.run(&wants(wanted));
    let report = mirror.synced().await;
    assert_eq!(report.refused_total, 0, "{report:?}");
    scene.upstream.down(true);
    mirror
}

async fn every_compression(version: Version) {
    let artifact = |compression: &'static str| {
        let content = [noise(60_000), vec![b'a'; 60_000]].concat();
        (Artifact::new(&format!("data-{compression}"), 0, content, &[]), compression)
    };
    let artifacts = COMPRESSIONS.map(artifact);
    let scene = Scene::made(|base| Corpus::compressed(base, version, &artifacts)).await.unwrap();
    let corpus = &scene.corpus;
    for (artifact, compression) in &artifacts {
        assert_eq!(corpus.narinfo(artifact).compression.to_string(), *compression);
    }
    let mirror = mirror_of(&scene, &artifacts.each_ref().map(|(artifact, _)| artifact)).await;
    let other = "test-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    for (artifact, compression) in &artifacts {
        let wrong = corpus.nix.substitute("wrong", &mirror.url(), other, &artifact.path);
        assert!(!wrong.status.success(), "{compression}: the signatures are checked");
        corpus.substituted("right", &mirror.url(), artifact);
    }
}

async fn looking_and_copying(version: Version) {
    let artifacts = library_and_app(600_000);
    let [library, app] = &artifacts;
    let scene = cache(version, &artifacts, "xz").await;
    let corpus = &scene.corpus;
    let mirror = mirror_of(&scene, &[app]).await;
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
    let to = text(&to);
    let unsigned = nix.command("nix").args(["copy", "--from", &url, "--to", to, &app.path]).output().unwrap();
    assert!(!unsigned.status.success(), "the key is not trusted yet");
    nix.configure(&key);
    nix.ask(&["copy", "--from", &url, "--to", to, &app.path]);
    nix.has("copied", library);
    nix.ask(&["store", "verify", "--store", to, "--recursive", "--sigs-needed", "1", &app.path]);

    // A plain cache that nix makes of the mirror is one that Granary calls clean.
    let again = scene.path().join("again");
    nix.ask(&["copy", "--from", &url, "--to", &format!("file://{}", again.display()), &app.path]);
    verified(&again, &corpus.key);
}

async fn cut_and_line(version: Version) {
    let artifacts = library_and_app(600_000);
    let [library, app] = &artifacts;
    let scene = Arc::new(cache(version, &artifacts, "zstd").await);
    let [site, other] = ["a-0", "b-0"].map(|name| scene.site(name));
    scene.put_map(&map_of(1, &[&site, &other], 2, &[&app.path]));
    let mirror = scene.run_at(site, &scene.follow());
    mirror.synced().await;
    scene.upstream.down(true);

    // What nix gets has the line, which it does not know.
    let narinfo = format!("{}/{}", mirror.url(), library.narinfo());
    let line = format!("\nMirrors: {}\n", other.url());
    mirror.names(library, &other.url()).await;
    let answer = scene.client.get(&narinfo).header("User-Agent", "curl/8 Nix/2.8").send().await.unwrap();
    assert!(answer.text().await.unwrap().ends_with(&line));

    let cutter = Cutter::start(mirror.site.http, 300_000).await;
    let (clone, url, wanted) = (Arc::clone(&scene), cutter.url.clone(), app.clone());
    // The cutter has to go on meanwhile.
    let got = tokio::task::spawn_blocking(move || clone.corpus.substituted("cut", &url, &wanted));
    got.await.unwrap();
    scene.corpus.nix.has("cut", library);
    let asked = cutter.nars();
    let resumed = asked.iter().filter(|head| head.contains("\r\nrange: bytes=")).count();
    assert_eq!((asked.len(), resumed), (3, 1), "the rest, and not all of it once more: {asked:?}");
}

async fn pushing(version: Version) {
    let [library, app] = library_and_app(600_000);
    let own = Artifact::new("own-1.0", 0, b"the mirror's own".to_vec(), &[]);
    let artifacts = [library, app, own];
    let [library, app, own] = &artifacts;
    let scene = cache(version, &artifacts, "zstd").await;
    let corpus = &scene.corpus;
    let more = format!("{}\n{}", wants(&[own]), takes_pushes(scene.path(), "50Mi", &corpus.key));
    let mirror = scene.synced(&more).await;
    let to = format!("{}?compression=xz&secret-key={}", mirror.url(), corpus.secret.display());
    let mut copy = corpus.nix.command("nix");
    copy.args(["copy", "--no-check-sigs", "--option", "netrc-file"]).arg(netrc(scene.path(), TOKEN));
    copy.arg("--from").arg(&corpus.root).args(["--to", &to, &app.path]);
    succeeded(&copy.output().unwrap());
    scene.upstream.down(true);
    corpus.substituted("other", &mirror.url(), app);
    corpus.nix.has("other", library);
}

async fn dozens(version: Version) {
    let artifacts = library_and_app(600_000);
    let [library, app] = &artifacts;
    let scene = cache(version, &artifacts, "xz").await;
    let corpus = &scene.corpus;
    let mirror = mirror_of(&scene, &[app]).await;
    let start = |number: usize| {
        // Each with a home of its own, so that none finds what another one remembers.
        let nix = Nix::of(&scene.path().join(format!("client-{number}")), corpus.nix.version.clone());
        let mut command = nix.substitution("store", &mirror.url(), &corpus.key, &app.path);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        (nix, child)
    };
    let clients: Vec<_> = (0..DOZENS).map(start).collect();
    for (nix, child) in clients {
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        succeeded(&output);
        nix.has("store", library);
    }
}
