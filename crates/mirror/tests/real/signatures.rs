//! Signatures between Granary and the real Nix: made here and believed there, made there and believed here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use granary_nix::{NarInfo, PublicKeys, SecretKey};

use super::support::{Artifact, Corpus, Nix, Scene, Version, library_and_app, succeeded, text, tools, wants};

/// A version before signatures in NAR metadata changed, and two newer ones.
fn versions() -> Vec<Version> {
    let newer = ["GRANARY_NIX_TRIXIE", "GRANARY_NIX_SID"].into_iter().filter_map(Version::by);
    [Version::machine()].into_iter().chain(newer).collect()
}

/// A key of Granary's own making.
fn own_key() -> SecretKey {
    SecretKey::from_seed("granary-1", &[42; 32]).unwrap()
}

/// Changes a narinfo of the cache.
fn change(corpus: &Corpus, artifact: &Artifact, change: impl FnOnce(&str) -> String) {
    let file = corpus.cache.join(artifact.narinfo());
    let before = fs::read_to_string(&file).unwrap();
    fs::write(file, change(&before)).unwrap();
}

/// A client of this version, in a place of its own.
fn client(base: &Path, name: &str, version: &Version) -> Nix {
    Nix::of(&base.join(name), version.clone())
}

fn file_url(directory: &Path) -> String {
    format!("file://{}", directory.display())
}

#[tokio::test]
async fn every_nix_believes_what_granary_signs() {
    let artifacts = library_and_app(200_000);
    let [_, app] = &artifacts;
    let Some(mut scene) = Scene::of(&artifacts).await else { return };
    let (key, other) = (own_key(), SecretKey::from_seed("granary-1", &[43; 32]).unwrap());
    for artifact in &artifacts {
        change(&scene.corpus, artifact, |text| {
            let mut info: NarInfo = text.parse().unwrap();
            info.sigs = vec![key.sign(&info.fingerprint())];
            info.to_text()
        });
    }
    scene.corpus.key = key.public_key().to_string();
    let mirror = scene.synced(&wants(&[app])).await;
    scene.upstream.down(true);
    for (number, version) in versions().iter().enumerate() {
        for (place, cache) in [("file", file_url(&scene.corpus.cache)), ("mirror", mirror.url())] {
            let nix = client(scene.path(), &format!("{place}-{number}"), version);
            let forged = nix.substitute("forged", &cache, &other.public_key().to_string(), &app.path);
            assert!(!forged.status.success(), "{version:?}: a key of the same name that did not sign");
            let nix = client(scene.path(), &format!("{place}-{number}-good"), version);
            succeeded(&nix.substitute("good", &cache, &scene.corpus.key, &app.path));
            for artifact in &artifacts {
                nix.has("good", artifact);
            }
        }
    }
}

#[tokio::test]
async fn every_nix_signs_with_a_key_file_of_granarys_and_granary_believes_it() {
    if !tools() {
        return;
    }
    let key = own_key();
    let keys: PublicKeys = [key.public_key()].into_iter().collect();
    for version in versions() {
        let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[]);
        let artifacts = [(app, "xz")];
        let Some(scene) = Scene::made(|base| Corpus::compressed(base, version.clone(), &artifacts)).await
        else {
            return;
        };
        let [(app, _)] = &artifacts;
        let Corpus { nix, root, .. } = &scene.corpus;
        let secret: PathBuf = scene.path().join("granary.sec");
        fs::write(&secret, key.expose()).unwrap();
        let read = |cache: &Path| NarInfo::parse(&fs::read(cache.join(app.narinfo())).unwrap()).unwrap();
        let public = {
            use std::io::Write as _;
            let mut command = nix.command("nix");
            command.args(["key", "convert-secret-to-public"]);
            let mut child = command
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(key.expose().as_bytes()).unwrap();
            String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
        };
        assert_eq!(public.trim(), key.public_key().to_string(), "{version:?}");

        // As a path is copied to a cache.
        let signed = scene.path().join("signed");
        let to = format!("{}?secret-key={}", file_url(&signed), secret.display());
        nix.ask(&["copy", "--no-check-sigs", "--from", text(root), "--to", &to, &app.path]);
        assert_eq!(keys.verify(&read(&signed)), Ok("granary-1"), "{version:?}");
        let store = scene.path().join("cache-of-nix-store");
        good(
            nix.command("nix")
                .args(["store", "sign", "--store", text(root), "--key-file"])
                .arg(&secret)
                .arg(&app.path),
        );
        nix.ask(&["copy", "--no-check-sigs", "--from", text(root), "--to", &file_url(&store), &app.path]);
        let info = read(&store);
        assert_eq!(keys.verify(&info), Ok("granary-1"), "{version:?}: {info:?}");
    }
}

fn good(command: &mut Command) {
    succeeded(&command.output().unwrap());
}

/// One signature that is none, beside good ones, makes a newer Nix throw away a narinfo. A mirror passes on the good ones.
#[tokio::test]
async fn a_malformed_signature_at_an_upstream_does_not_reach_clients() {
    let artifacts = library_and_app(200_000);
    let [library, app] = &artifacts;
    let Some(scene) = Scene::of(&artifacts).await else { return };
    let corpus = &scene.corpus;
    let malformed = ["Sig: nonsense\n", "Sig: test-2:AAAA\n", "Sig: test-2:not base64!\n", "Sig: :\n"];
    for artifact in &artifacts {
        change(corpus, artifact, |text| {
            let (before, sig) = text.split_once("Sig: ").unwrap();
            let [first, rest @ ..] = &malformed;
            format!("{before}{first}Sig: {sig}{}", rest.concat())
        });
    }
    let mirror = scene.synced(&wants(&[app])).await;
    scene.upstream.down(true);
    for artifact in [library, app] {
        let said = mirror.get(&artifact.narinfo()).await.text().await.unwrap();
        let sigs: Vec<&str> = said.lines().filter(|line| line.starts_with("Sig: ")).collect();
        assert!(matches!(sigs[..], [one] if one.starts_with("Sig: test-1:")), "{said}");
    }
    for (number, version) in versions().iter().enumerate() {
        let nix = client(scene.path(), &format!("mirrored-{number}"), version);
        succeeded(&nix.substitute("mirrored", &mirror.url(), &corpus.key, &app.path));
        for artifact in &artifacts {
            nix.has("mirrored", artifact);
        }
    }
    // By itself the newest takes nothing from such a cache.
    if let Some(newest) = Version::by("GRANARY_NIX_SID") {
        let nix = client(scene.path(), "direct", &newest);
        let direct = nix.substitute("direct", &file_url(&corpus.cache), &corpus.key, &app.path);
        assert!(!direct.status.success());
    }
}
