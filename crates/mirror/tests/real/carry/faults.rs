//! A source that is not right, and an end in the middle.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{Fixture, PROGRAM, is_visible};
use crate::support::{eventually, flip, nar_name, run, text};

#[test]
fn a_fault_of_the_source_is_told_and_the_rest_goes_on() {
    let Some(fixture) = Fixture::new() else { return };
    let [library, app, other] = &fixture.artifacts;
    let library_nar = fixture.corpus.nar_file(library);
    let genuine = flip(&library_nar);
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
    fs::remove_file(&library_nar).unwrap();
    let narinfo = fixture.corpus.cache.join(other.narinfo());
    let mended = fs::read_to_string(&narinfo).unwrap();
    fs::write(&narinfo, mended.replace("URL: nar/", "URL: ../nar/")).unwrap();
    fs::remove_dir_all(fixture.stick()).unwrap();
    let (code, _, error) = fixture.export(&[]);
    assert_eq!(code, Some(1));
    assert!(error.contains(&format!("{}: not-found: ", library.path)), "{error}");
    assert!(error.contains(&format!("{}: forbidden-url: ", other.hash_part())), "{error}");

    // With the genuine bytes the same command completes it.
    fs::write(library_nar, genuine).unwrap();
    fs::write(&narinfo, mended).unwrap();
    let (code, _, error) = fixture.export(&[]);
    assert_eq!(code, Some(0), "{error}");
    fixture.clean(3);
}

#[test]
fn rot_in_an_export_is_found_by_the_import_and_mended_by_the_next_export() {
    let Some(fixture) = Fixture::new() else { return };
    let [library, app, other] = &fixture.artifacts;
    assert_eq!(fixture.export(&[]).0, Some(0));
    let stick = fixture.stick();
    let narinfo = fs::read_to_string(stick.join(library.narinfo())).unwrap();
    let nar = stick.join(nar_name(&narinfo));
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
    let Some(fixture) = Fixture::new() else { return };
    let [library, app, other] = &fixture.artifacts;
    // The library's bytes come through a pipe, of which the second half never comes.
    let path = fixture.corpus.nar_file(library);
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
