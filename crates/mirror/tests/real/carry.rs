//! `export` and `import`: a disk for an isolated site, made from a mirror or any cache, read by the real Nix.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::support::{Artifact, Corpus, Site, Upstream, config, eventually, folder, noise, run, text, tools};

const PROGRAM: &str = env!("CARGO_BIN_EXE_granary-mirror");

/// An application and its library, something else, and the cache of them all.
struct Fixture {
    corpus: Corpus,
    artifacts: [Artifact; 3],
    folder: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let folder = folder();
        let library = Artifact::new("library-1.0", 0, noise(300_000), &[]);
        let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
        let other = Artifact::new("other-1.0", 0, b"something else".to_vec(), &[]);
        let artifacts = [library, app, other];
        Self { corpus: Corpus::make(folder.path(), &artifacts), artifacts, folder }
    }

    fn stick(&self) -> PathBuf {
        self.folder.path().join("stick")
    }

    /// Exports from the cache to the stick.
    fn export(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let (from, to) = (&self.corpus.cache, self.stick());
        let all = ["export", "--from", text(from), "--to", text(&to), "--public-key", &self.corpus.key];
        run(&[&all[..], more].concat())
    }

    fn nar(&self, artifact: &Artifact) -> PathBuf {
        self.corpus.cache.join(self.corpus.narinfo(artifact).url)
    }

    /// Everything on the stick is right.
    fn clean(&self, artifacts: usize) {
        let (code, out, error) = run(&["verify", text(&self.stick()), "--public-key", &self.corpus.key]);
        assert_eq!(code, Some(0), "{out}{error}");
        assert!(error.contains(&format!("{artifacts} artifacts")) && !error.contains("note:"), "{error}");
    }
}

fn is_visible(directory: &Path, artifact: &Artifact) -> bool {
    directory.join(format!("{}.narinfo", artifact.hash_part())).exists()
}

/// Changes one bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// What is printed by a command that fails.
fn failed(output: Output) -> String {
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    error
}

#[test]
fn nix_copies_from_an_export_and_an_import_completes_a_mirror() {
    if !tools() {
        return;
    }
    let fixture = Fixture::new();
    let Fixture { corpus, artifacts: [library, app, other], .. } = &fixture;
    let (code, out, error) = fixture.export(&["--store-path", &app.path]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{error}");
    assert!(error.contains("copied 2 artifacts"), "{error}");
    // Nothing but a cache is on it.
    let mut names: Vec<String> = fs::read_dir(fixture.stick())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut expected: Vec<String> =
        [library, app].map(|artifact| format!("{}.narinfo", artifact.hash_part())).into();
    expected.extend(["nar".into(), "nix-cache-info".into()]);
    names.sort();
    expected.sort();
    assert_eq!(names, expected);
    fixture.clean(2);

    // As a file cache, with signatures checked.
    let store = fixture.folder.path().join("isolated");
    let from = format!("file://{}", fixture.stick().display());
    let mut copy = corpus.nix.command("nix");
    copy.args(["copy", "--from", &from, "--to"]).arg(&store).arg(&app.path);
    copy.args(["--option", "trusted-public-keys", &corpus.key]);
    let copied = copy.output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let content = fs::read(format!("{}{}/content", store.display(), library.path)).unwrap();
    assert_eq!(content, library.content);

    // Again: all is there. The rest too, with everything: only that is copied.
    let (code, _, error) = fixture.export(&["--store-path", &app.path]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("copied 0 artifacts, 0 bytes; 2 were there"), "{error}");
    let (code, _, error) = fixture.export(&[]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("copied 1 artifacts") && error.contains("2 were there"), "{error}");
    fixture.clean(3);

    // Into a mirror whose upstream is out of reach: then it has all that it wants.
    let site = Site::new(fixture.folder.path(), "isolated-site");
    let config = config(&site, "http://127.0.0.1:1", &corpus.key, &format!("storePaths: ['{}']", app.path));
    let stick = fixture.stick();
    let import = ["import", "--from", &from, "--config", text(&config), "--quiet"];
    assert_eq!(run(&import), (Some(0), String::new(), String::new()));
    let (code, _, error) = run(&["sync", "--config", text(&config)]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("2 of 2 artifacts here and verified"), "{error}");
    assert!(is_visible(&site.tree(), other));
    let (code, out, error) = run(&["verify", text(&site.tree()), "--public-key", &corpus.key]);
    assert_eq!(code, Some(0), "{out}{error}");

    // From a mirror's own configuration; and the other way round it is no place for an export.
    let second = fixture.folder.path().join("second");
    let (code, _, error) =
        run(&["export", "--config", text(&config), "--to", text(&second), "--store-path", &app.path]);
    assert_eq!(code, Some(0), "{error}");
    assert!(is_visible(&second, app) && is_visible(&second, library) && !is_visible(&second, other));
    let keys = ["--public-key", &corpus.key];
    let onto = |to: &Path| run(&[&["export", "--from", text(&stick), "--to", text(to)], &keys[..]].concat());
    let (code, _, error) = onto(&site.tree());
    assert_eq!(code, Some(1));
    assert!(error.contains("is a mirror's directory; put artifacts into it with import"), "{error}");
    let (code, _, error) = onto(&stick.join("nar/below"));
    assert_eq!(code, Some(1));
    assert!(error.contains("one below the other"), "{error}");
    assert!(!stick.join("nar/below").exists());
}

#[test]
fn a_fault_of_the_source_is_told_and_the_rest_goes_on() {
    if !tools() {
        return;
    }
    let fixture = Fixture::new();
    let [library, app, other] = &fixture.artifacts;
    let genuine = fs::read(fixture.nar(library)).unwrap();
    flip(&fixture.nar(library));
    let (code, _, error) = fixture.export(&[]);
    assert_eq!(code, Some(1), "{error}");
    let line =
        |path: &str, reason: &str| error.lines().any(|line| line.starts_with(&format!("{path}: {reason}: ")));
    assert!(line(&library.path, "file-hash") && line(&app.path, "missing-reference"), "{error}");
    assert!(!is_visible(&fixture.stick(), library) && !is_visible(&fixture.stick(), app));
    assert!(is_visible(&fixture.stick(), other), "{error}");
    fixture.clean(1);

    // A key that nobody trusts; a NAR file that is not there; a narinfo that leads elsewhere.
    let to = fixture.folder.path().join("nothing");
    let key = "test-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=";
    let (code, _, error) =
        run(&["export", "--from", text(&fixture.corpus.cache), "--to", text(&to), "--public-key", key]);
    assert_eq!(code, Some(1));
    assert_eq!(error.lines().filter(|line| line.contains(": bad-signature: ")).count(), 3, "{error}");
    fs::remove_file(fixture.nar(library)).unwrap();
    let narinfo = fixture.corpus.cache.join(format!("{}.narinfo", other.hash_part()));
    let mended = fs::read_to_string(&narinfo).unwrap();
    fs::write(&narinfo, mended.replace("URL: nar/", "URL: ../nar/")).unwrap();
    fs::remove_dir_all(fixture.stick()).unwrap();
    let (code, _, error) = fixture.export(&[]);
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("{}: not-found: ", library.path)), "{error}");
    assert!(error.contains(&format!("{}: forbidden-url: ", other.hash_part())), "{error}");

    // With the genuine bytes the same command completes it.
    fs::write(fixture.nar(library), genuine).unwrap();
    fs::write(&narinfo, mended).unwrap();
    let (code, _, error) = fixture.export(&[]);
    assert_eq!(code, Some(0), "{error}");
    fixture.clean(3);
}

#[test]
fn rot_in_an_export_is_found_by_the_import_and_mended_by_the_next_export() {
    if !tools() {
        return;
    }
    let fixture = Fixture::new();
    let [library, app, other] = &fixture.artifacts;
    assert_eq!(fixture.export(&[]).0, Some(0));
    let stick = fixture.stick();
    let narinfo = fs::read_to_string(stick.join(format!("{}.narinfo", library.hash_part()))).unwrap();
    let nar = stick.join(narinfo.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap());
    flip(&nar);
    let tree = fixture.folder.path().join("tree");
    let import =
        || run(&["import", "--from", text(&stick), "--to", text(&tree), "--public-key", &fixture.corpus.key]);
    let (code, _, error) = import();
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("{}: file-hash: ", library.path)), "{error}");
    assert!(error.contains(&format!("{}: missing-reference: ", app.path)), "{error}");
    assert!(is_visible(&tree, other) && !is_visible(&tree, app) && !is_visible(&tree, library));

    let (code, _, error) = fixture.export(&[]);
    assert_eq!(code, Some(0));
    assert!(error.contains("copied 1 artifacts") && error.contains("2 were there"), "{error}");
    fixture.clean(3);
    let (code, _, error) = import();
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("copied 2 artifacts") && error.contains("1 were there"), "{error}");
    // And rot in the mirror, by the next import.
    flip(&tree.join(nar.strip_prefix(&stick).unwrap()));
    let (code, _, error) = import();
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("copied 1 artifacts") && error.contains("2 were there"), "{error}");
}

#[tokio::test]
async fn an_export_that_is_killed_in_the_middle_shows_nothing_half_and_goes_on() {
    if !tools() {
        return;
    }
    let fixture = Fixture::new();
    let [library, app, other] = &fixture.artifacts;
    // The library's bytes come through a pipe, of which the second half never comes.
    let path = fixture.nar(library);
    let genuine = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut export = Command::new(PROGRAM)
        .args(["export", "--public-key", &fixture.corpus.key, "--from"])
        .arg(&fixture.corpus.cache)
        .arg("--to")
        .arg(fixture.stick())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (fifo, half) = (path.clone(), genuine[..genuine.len() / 2].to_vec());
    let writer = tokio::task::spawn_blocking(move || {
        let mut pipe = File::options().write(true).open(fifo).unwrap();
        pipe.write_all(&half).unwrap();
        pipe
    });
    let pipe = writer.await.unwrap();
    let copied = || {
        let files = fs::read_dir(fixture.stick().join(".granary-export")).ok()?;
        files.filter_map(|file| file.ok()?.metadata().ok()).find(|file| file.len() > 100_000)
    };
    eventually("half is copied", async || copied()).await;
    assert!(!is_visible(&fixture.stick(), library) && !is_visible(&fixture.stick(), app));
    export.kill().unwrap();
    export.wait().unwrap();
    drop(pipe);
    assert!(!is_visible(&fixture.stick(), library) && !is_visible(&fixture.stick(), app));

    fs::remove_file(&path).unwrap();
    fs::write(&path, genuine).unwrap();
    let (code, _, error) = fixture.export(&[]);
    assert_eq!(code, Some(0), "{error}");
    assert!(is_visible(&fixture.stick(), other));
    fixture.clean(3);
}

#[tokio::test]
async fn an_export_can_come_from_a_cache_behind_http() {
    if !tools() {
        return;
    }
    let fixture = Fixture::new();
    let [_, app, other] = &fixture.artifacts;
    let upstream = Upstream::serve(&fixture.corpus.cache).await;
    let (to, key, url) = (fixture.stick(), fixture.corpus.key.clone(), upstream.url.clone());
    let export = |more: Vec<String>| {
        let (to, key, url) = (to.clone(), key.clone(), url.clone());
        tokio::task::spawn_blocking(move || {
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            run(&[&["export", "--from", &url, "--to", text(&to), "--public-key", &key], &more[..]].concat())
        })
    };
    let (code, _, error) = export(vec![]).await.unwrap();
    assert_eq!(code, Some(1));
    assert!(error.contains("say with --store-path what to take"), "{error}");
    let (code, _, error) = export(vec!["--store-path".into(), app.path.clone()]).await.unwrap();
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("copied 2 artifacts") && !is_visible(&to, other), "{error}");
    fixture.clean(2);
}

/// Runs a shell script as root of a mount namespace of its own; `None` where that is not allowed.
fn isolated(script: &str) -> Option<Output> {
    let shell = |script: &str| Command::new("unshare").args(["-rm", "sh", "-c", script]).output();
    if shell("mount -t tmpfs none /mnt").is_ok_and(|output| output.status.success()) {
        return Some(shell(script).unwrap());
    }
    println!("skipped: no mount namespaces here");
    None
}

#[test]
fn a_full_and_a_read_only_disk_are_told_in_words() {
    if !tools() {
        return;
    }
    let fixture = Fixture::new();
    let export = format!(
        "'{PROGRAM}' export --from '{}' --public-key '{}' --to /mnt/stick",
        fixture.corpus.cache.display(),
        fixture.corpus.key
    );
    let Some(output) = isolated(&format!("mount -t tmpfs -o size=200k none /mnt && exec {export}")) else {
        return;
    };
    let error = failed(output);
    assert!(
        error.contains("/mnt/stick has 1") && error.contains("are needed; nothing was copied"),
        "{error}"
    );

    // What the narinfos do not say is found out on the way.
    let library = fixture.corpus.cache.join(format!("{}.narinfo", fixture.artifacts[0].hash_part()));
    let stated = fs::read_to_string(&library).unwrap();
    let unstated: Vec<&str> = stated.lines().filter(|line| !line.starts_with("FileSize:")).collect();
    fs::write(&library, unstated.join("\n") + "\n").unwrap();
    let output = isolated(&format!("mount -t tmpfs -o size=200k none /mnt && exec {export}")).unwrap();
    let error = failed(output);
    assert!(error.contains("cannot write /mnt/stick/") && error.contains("make room"), "{error}");

    let output = isolated(&format!("mount -t tmpfs -o ro none /mnt && exec {export}")).unwrap();
    let error = failed(output);
    assert!(error.contains("is mounted read-only"), "{error}");
}

#[test]
fn a_filesystem_with_a_limit_for_files_is_told_in_words() {
    if !tools() {
        return;
    }
    let fixture = Fixture::new();
    // 100 KiB in place of 4 GiB, to the same error.
    let script = format!(
        "trap '' XFSZ; ulimit -f 200; exec '{PROGRAM}' export --from '{}' --public-key '{}' --to '{}'",
        fixture.corpus.cache.display(),
        fixture.corpus.key,
        fixture.stick().display()
    );
    let error = failed(Command::new("sh").args(["-c", &script]).output().unwrap());
    assert!(error.contains("larger than this filesystem takes (FAT: less than 4 GiB)"), "{error}");
    assert!(!is_visible(&fixture.stick(), &fixture.artifacts[0]));
}

#[test]
fn a_bar_is_shown_on_a_terminal_and_lines_in_a_pipe() {
    if !tools() {
        return;
    }
    let fixture = Fixture::new();
    let on_terminal = |command: &str| {
        let output = Command::new("script").args(["-qec", command, "/dev/null"]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap()
    };
    let export = |to: &str, more: &str| {
        format!(
            "'{PROGRAM}' export --from '{}' --public-key '{}' --to '{}' {more}",
            fixture.corpus.cache.display(),
            fixture.corpus.key,
            fixture.folder.path().join(to).display()
        )
    };
    let bar = |shown: &str| shown.contains("of 3 artifacts [") && shown.contains("left");
    let shown = on_terminal(&export("terminal", ""));
    assert!(bar(&shown) && shown.contains("copied 3 artifacts"), "{shown:?}");
    assert_eq!(on_terminal(&export("quiet", "--quiet")), "");
    let piped = Command::new("sh").args(["-c", &export("pipe", "")]).output().unwrap();
    let piped = String::from_utf8(piped.stderr).unwrap();
    assert!(!piped.contains(['\r', '\x1b']), "{piped:?}");
    assert!(piped.lines().any(|line| line.starts_with("0 of 3 artifacts, ")), "{piped:?}");
    assert!(piped.lines().any(|line| line.starts_with("3 of 3 artifacts, ")), "{piped:?}");
}
