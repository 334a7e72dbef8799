//! What is served beside artifacts, made by the real Nix and read by it through a mirror: build logs, a content-addressed
//! derivation, listings, the debug index.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reqwest::{Client, StatusCode};

use super::support::{Mirror, Site, Upstream, client, config, eventually, folder, run, text, tools};

const BUILD_ID: &str = "3da4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c";

/// Derivations whose builder is the machine's own shell.
const EXPRESSIONS: &str = r#"
{
  app = derivation {
    name = "app-debug";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" ''
      echo built with debug information
      /bin/mkdir -p $out/lib/debug/.build-id/3d
      echo elf > $out/lib/debug/.build-id/3d/a4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c.debug
    '' ];
  };
  addressed = derivation {
    name = "addressed";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "echo built by its content; echo hello > $out" ];
    __contentAddressed = true;
    outputHashMode = "recursive";
    outputHashAlgo = "sha256";
  };
}
"#;

/// Nix with content-addressed derivations, that can build in stores of its own. Only root can have it do that.
struct Builder {
    base: PathBuf,
}

impl Builder {
    fn new(base: &Path) -> Self {
        let base = base.join("builder");
        std::fs::create_dir_all(base.join("conf")).unwrap();
        let conf = "sandbox = false\nexperimental-features = nix-command ca-derivations\nbuild-users-group =\n\
                    substituters =\nsandbox-paths = /bin/sh /bin/mkdir /lib /lib64\n";
        std::fs::write(base.join("conf/nix.conf"), conf).unwrap();
        std::fs::write(base.join("expressions.nix"), EXPRESSIONS).unwrap();
        Self { base }
    }

    fn nix(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("nix");
        command.args(arguments).env("HOME", &self.base).env("NIX_CONF_DIR", self.base.join("conf"));
        command.env_remove("NIX_REMOTE").output().unwrap()
    }

    fn good(&self, arguments: &[&str]) -> String {
        let output = self.nix(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Builds an expression, or substitutes it when nothing may be built; the output's path.
    fn build(&self, store: &Path, name: &str, more: &[&str]) -> String {
        let file = self.base.join("expressions.nix");
        let arguments = ["build", "--store", text(store), "--no-link", "--json", "-f", text(&file), name];
        let json: serde_json::Value =
            serde_json::from_str(&self.good(&[&arguments[..], more].concat())).unwrap();
        json[0]["outputs"]["out"].as_str().unwrap().to_owned()
    }
}

async fn get(client: &Client, url: String) -> (StatusCode, Vec<u8>) {
    let answer = client.get(url).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().into())
}

/// The files in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

// The upstream has to answer while this thread waits for Nix.
#[tokio::test(flavor = "multi_thread")]
async fn nix_reads_through_a_mirror_what_nix_wrote_beside_artifacts() {
    if !tools() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can have Nix build in a store of its own");
        return;
    }
    let (folder, client) = (folder(), client());
    let (builder, store, cache) =
        (Builder::new(folder.path()), folder.path().join("store"), folder.path().join("cache"));
    let (secret, public) = (folder.path().join("key.sec"), folder.path().join("key.pub"));
    let keygen = ["--generate-binary-cache-key", "test-1", text(&secret), text(&public)];
    assert!(Command::new("nix-store").args(keygen).status().unwrap().success());
    let key = std::fs::read_to_string(public).unwrap().trim().to_owned();
    let file = builder.base.join("expressions.nix");
    let to = format!(
        "file://{}?secret-key={}&write-nar-listing=true&index-debug-info=true",
        cache.display(),
        secret.display()
    );
    let [app, addressed] = ["app", "addressed"].map(|name| {
        let path = builder.build(&store, name, &[]);
        for command in [&["copy"][..], &["store", "copy-log"]] {
            builder
                .good(&[command, &["--from", text(&store), "--to", &to, "-f", text(&file), name]].concat());
        }
        path
    });
    let hash = |path: &str| path[11..43].to_owned();
    let realisations = names(&cache.join("realisations"));
    assert_eq!(realisations.len(), 2, "{realisations:?}");

    let upstream = Upstream::serve(&cache).await;
    let site = Site::new(folder.path(), "lan");
    let config = config(&site, &upstream.url, &key, &format!("storePaths: ['{app}', '{addressed}']"));
    let mut mirror = Mirror::run(site, &config);
    mirror.synced(&client).await;
    let tree = mirror.site.tree();
    // Beside the artifacts without anybody asking: listings, logs, the debug index.
    let there =
        [format!("{}.ls", hash(&app)), format!("{}.ls", hash(&addressed)), format!("debuginfo/{BUILD_ID}")];
    eventually("all that belongs to the artifacts is there", async || {
        let all = there.iter().all(|name| tree.join(name).exists()) && names(&tree.join("log")).len() == 2;
        all.then_some(())
    })
    .await;
    for name in &there[..2] {
        assert_eq!(std::fs::read(tree.join(name)).unwrap(), std::fs::read(cache.join(name)).unwrap());
    }
    // Nix names it otherwise; the file says the same, and both names lead to it.
    let written = std::fs::read(cache.join(format!("debuginfo/{BUILD_ID}.debug"))).unwrap();
    for name in [BUILD_ID.to_owned(), format!("{BUILD_ID}.debug")] {
        let answer = get(&client, format!("{}/debuginfo/{name}", mirror.url())).await;
        assert_eq!(answer, (StatusCode::OK, written.clone()), "{name}");
    }
    let archive: serde_json::Value = serde_json::from_slice(&written).unwrap();
    let nar = format!("{}/debuginfo/{}", mirror.url(), archive["archive"].as_str().unwrap());
    assert_eq!(get(&client, nar).await.0, 200, "the entry leads to the NAR");

    // A client that may not build: the realisation, asked for on a miss, says what to substitute.
    let substitute = |name: &str, builder: &Builder| {
        let options = ["--max-jobs", "0", "--option", "substituters", &mirror.url()]
            .map(str::to_owned)
            .into_iter()
            .chain(["--option", "trusted-public-keys", &key].map(str::to_owned))
            .collect::<Vec<_>>();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        builder.build(&folder.path().join(name), "addressed", &options)
    };
    assert_eq!(substitute("first", &builder), addressed);
    upstream.down(true);
    assert_eq!(substitute("second", &builder), addressed, "it is in the tree now");
    let inside = format!("{}{addressed}", folder.path().join("second").display());
    assert_eq!(std::fs::read(inside).unwrap(), b"hello\n");
    let [kept] = &names(&tree.join("realisations"))[..] else { panic!("one realisation is kept") };
    let original = std::fs::read(cache.join("realisations").join(kept)).unwrap();
    for name in [kept.clone(), kept.replace('!', "%21")] {
        let answer = get(&client, format!("{}/realisations/{name}", mirror.url())).await;
        assert_eq!(answer, (StatusCode::OK, original.clone()), "{name}");
    }

    // Logs and contents, from the mirror alone.
    for (path, says) in [(&app, "built with debug information"), (&addressed, "built by its content")] {
        let log = builder.good(&["log", "--store", &mirror.url(), path]);
        assert!(log.contains(says), "{log}");
    }
    let listed = builder.good(&["store", "ls", "--recursive", "--store", &mirror.url(), &app]);
    assert!(listed.contains("lib/debug/.build-id/3d"), "{listed}");
    // Nobody knows whether there is another log.
    let unknown = format!("{}/log/{}-x.drv", mirror.url(), hash(&app));
    let answer = client.get(&unknown).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    upstream.down(false);
    assert_eq!(get(&client, unknown).await.0, 404);

    let answer = client.head(format!("{}/{}", mirror.url(), there[0])).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let put = client.put(format!("{}/{}", mirror.url(), there[0])).body("x").send().await.unwrap();
    assert_eq!(put.status(), 405);
    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());
    let (code, out, error) = run(&["verify", text(&tree), "--public-key", &key]);
    assert_eq!(code, Some(0), "{out}{error}");
    assert!(error.contains("6 files beside them (2 of them logs)"), "{error}");
}

#[tokio::test]
async fn realisations_of_two_versions_of_nix_are_had_under_either_spelling() {
    let Some(fixtures) = std::env::var_os("GRANARY_FIXTURES").map(PathBuf::from) else {
        println!("skipped: GRANARY_FIXTURES names no folder of fixtures");
        return;
    };
    if !tools() {
        return;
    }
    let key = std::fs::read_to_string(fixtures.join("caches/demo-1.pub")).unwrap().trim().to_owned();
    let path = "/nix/store/rbmc5ab768g5prim3mgyw9dfd8yl53v7-cahello";
    for version in ["2.8", "2.34"] {
        let (folder, client) = (folder(), client());
        let cache = fixtures.join(format!("caches/ca-derivation-{version}"));
        let [file] = &names(&cache.join("realisations"))[..] else { panic!("one realisation") };
        let upstream = Upstream::serve(&cache).await;
        let site = Site::new(folder.path(), "lan");
        let config = config(&site, &upstream.url, &key, &format!("storePaths: ['{path}']"));
        let mirror = Mirror::run(site, &config);
        mirror.synced(&client).await;
        let original = std::fs::read(cache.join("realisations").join(file)).unwrap();
        let name = file.replace("%21", "!");
        for spelled in [name.replace('!', "%21"), name.clone()] {
            let answer = get(&client, format!("{}/realisations/{spelled}", mirror.url())).await;
            assert_eq!(answer, (StatusCode::OK, original.clone()), "{version}: {spelled}\n{}", mirror.log());
        }
        assert_eq!(names(&mirror.site.tree().join("realisations")), [name], "one file for both");
    }
}
