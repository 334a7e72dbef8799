//! The commands that end: their exit codes and what they print.

use std::process::Command;

use super::support::{Artifact, Scene, flip, folder, good_bad_and_user, run, text, verified, wants};

const PROGRAM: &str = env!("CARGO_BIN_EXE_granary-mirror");
const OTHER_KEY: &str = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";

#[test]
fn a_mistake_in_the_configuration_is_told_in_one_line() {
    let folder = folder();
    let file = folder.path().join("config.yaml");
    std::fs::write(
        &file,
        format!("directory: /x\nupstreams: [{{url: 'https://a', publicKeys: ['{OTHER_KEY}']}}]\n"),
    )
    .unwrap();
    for command in ["run", "agent", "sync"] {
        let (code, out, error) = run(&[command, "--config", text(&file)]);
        assert_eq!((code, out.as_str()), (Some(1), ""));
        assert_eq!(
            error,
            format!(
                "granary-mirror: {}: storePaths: list the store paths to keep (their closure follows), or set map\n",
                file.display()
            )
        );
    }
}

#[test]
fn prepare_makes_and_gives() {
    let folder = folder();
    let directory = folder.path().join("data");
    let owner = format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid());
    assert_eq!(run(&["prepare", text(&directory), "--owner", &owner]).0, Some(0));
    assert!(directory.is_dir());
    let (code, _, error) = run(&["prepare", text(&directory), "--owner", "granary"]);
    assert_eq!(code, Some(2));
    assert!(error.contains("64532:64532"), "{error}");
}

#[tokio::test]
async fn sync_verify_and_narinfo() {
    let artifacts = good_bad_and_user();
    let [good, bad, user] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let key = &scene.corpus.key;
    let bad_path = scene.corpus.nar_file(bad);
    let genuine = flip(&bad_path);

    // Once with a corrupted NAR: the rest is taken, and what is not is told with its reason.
    let site = scene.site("lan");
    let config = scene.write(&site, &wants(&[good, user]));
    let tree = site.tree();
    let sync = async || {
        let path = text(&config).to_owned();
        tokio::task::spawn_blocking(move || run(&["sync", "--config", &path])).await.unwrap()
    };
    let (code, _, error) = sync().await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("1 of 3 artifacts here and verified"), "{error}");
    assert!(error.contains("published 1 artifacts"), "{error}");
    let told = |path: &str, reason: &str| {
        error.lines().any(|line| line.starts_with(&format!("refused {path}: {reason}")))
    };
    assert!(told(&bad.path, "file-hash"), "{error}");
    assert!(told(&user.path, "missing-reference"), "{error}");
    assert!(!tree.join(bad.narinfo()).exists());

    // Again with the genuine bytes.
    std::fs::write(&bad_path, genuine).unwrap();
    let (code, _, error) = sync().await;
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("3 of 3 artifacts here and verified"), "{error}");

    let verify = |more: &[&str]| run(&[&["verify", text(&tree), "--public-key"], more].concat());
    verified(&tree, key);
    let narinfo = tree.join(good.narinfo());
    let (code, out, _) = run(&["narinfo", "--public-key", key, text(&narinfo)]);
    assert_eq!((code, out), (Some(0), format!("{}: ok: {} (test-1 good)\n", text(&narinfo), good.path)));

    // Another key trusts nothing here.
    let (code, out, _) = verify(&[OTHER_KEY]);
    assert_eq!(code, Some(1));
    assert_eq!(
        out.lines().filter(|line| line.contains("not trusted: test-1") && !line.starts_with('.')).count(),
        3,
        "{out}"
    );
    let (code, out, _) = run(&["narinfo", "--public-key", OTHER_KEY, text(&narinfo), "/no/such/file"]);
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 2, "{out}");
    assert!(lines[0].contains("not trusted: test-1"), "{out}");
    assert!(lines[1].starts_with("/no/such/file: disk: "), "{out}");

    // A flipped bit on the disk is found, and named.
    let nar = tree.join(format!("nar/{}", bad_path.file_name().unwrap().to_str().unwrap()));
    flip(&nar);
    let (code, out, _) = verify(&[key]);
    assert_eq!(code, Some(1));
    assert!(out.lines().any(|line| line.contains(bad.hash_part())), "{out}");
    let (code, out, _) = verify(&[key, "--json"]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(json.to_string().contains(bad.hash_part()), "{out}");

    // Not a narinfo, and JSON.
    std::fs::write(&narinfo, "StorePath: nonsense\n").unwrap();
    let (code, out, _) = run(&["narinfo", "--json", "--public-key", key, text(&narinfo)]);
    assert_eq!(code, Some(1));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(json[0]["trusted"], false);
    assert_eq!(json[0]["reason"], "bad-narinfo", "{out}");

    let (code, _, error) = verify(&["nonsense"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("--public-key \"nonsense\""), "{error}");
}

#[tokio::test]
async fn sync_shows_a_bar_on_a_terminal() {
    let good = Artifact::sized("good-1.0", 50_000);
    let Some(scene) = Scene::of(std::slice::from_ref(&good)).await else { return };
    let config = scene.write(&scene.site("lan"), &wants(&[&good]));
    let command = format!("'{PROGRAM}' sync --config '{}'", text(&config));
    let run = move || Command::new("script").args(["-qec", &command, "/dev/null"]).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("of 1 artifacts [") && shown.contains("left"), "{shown:?}");
    assert!(shown.contains("1 of 1 artifacts here and verified"), "{shown:?}");
}

#[tokio::test]
async fn sync_brings_the_channels_of_the_file() {
    let artifacts = [Artifact::sized("good-1.0", 50_000), Artifact::sized("bad-1.0", 60_000)];
    let [good, bad] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let corpus = &scene.corpus;
    corpus.list("stable", &[good, bad]);
    let file = corpus.nar_file(bad);
    let genuine = flip(&file);
    let site = scene.site("lan");
    let config = scene.write(&site, &format!("channels: [{{url: '{}/stable'}}]", scene.upstream.url));
    let sync = async |more: &'static [&'static str]| {
        let path = text(&config).to_owned();
        let sync = move || run(&[&["sync", "--config", &path], more].concat());
        tokio::task::spawn_blocking(sync).await.unwrap()
    };

    let (code, _, error) = sync(&[]).await;
    assert_eq!(code, Some(1), "{error}");
    let told =
        |error: &str| error.lines().any(|line| line.starts_with(&format!("refused {}: file-hash", bad.path)));
    assert!(told(&error), "{error}");
    for words in ["stable: 1 of 2 listed store paths here and verified", "published 1 artifacts"] {
        assert!(error.contains(words), "{words}: {error}");
    }
    assert!(site.tree().join(good.narinfo()).exists());
    let (code, _, error) = sync(&["--quiet"]).await;
    assert!(code == Some(1) && told(&error) && !error.contains("stable"), "{error}");

    std::fs::write(&file, genuine).unwrap();
    let (code, _, error) = sync(&[]).await;
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("2 of 2 listed store paths"), "{error}");

    // All of the last list is here; whether it is the newest, nobody knows.
    corpus.unlist("stable");
    let (code, _, error) = sync(&["--quiet"]).await;
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("stable: the channel cannot be followed") && error.contains("404"), "{error}");
    verified(&site.tree(), &corpus.key);
}
