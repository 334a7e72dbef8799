//! Ways from a cache to a site, and what is shown on them.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Fixture, is_visible};
use crate::support::{Site, Upstream, config, names, run, succeeded, text, verified, wants};

#[test]
fn nix_copies_from_an_export_and_an_import_completes_a_mirror() {
    let Some(fixture) = Fixture::new() else { return };
    let Fixture { corpus, artifacts: [library, app, other], .. } = &fixture;
    let (code, out, error) = fixture.export(&["--store-path", &app.path]);
    assert_eq!((code, out.as_str()), (Some(0), ""), "{error}");
    assert!(error.contains("copied 2 artifacts"), "{error}");
    // Nothing but a cache is on it.
    let mut expected = vec![library.narinfo(), app.narinfo(), "nar".into(), "nix-cache-info".into()];
    expected.sort();
    assert_eq!(names(&fixture.stick()), expected);
    fixture.clean(2);

    // As a file cache, with signatures checked.
    let store = fixture.folder.path().join("isolated");
    let from = format!("file://{}", fixture.stick().display());
    let mut copy = corpus.nix.command("nix");
    copy.args(["copy", "--from", &from, "--to"]).arg(&store).arg(&app.path);
    copy.args(["--option", "trusted-public-keys", &corpus.key]);
    succeeded(&copy.output().unwrap());
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
    let config = config(&site, "http://127.0.0.1:1", &corpus.key, &wants(&[app]));
    let stick = fixture.stick();
    let import = ["import", "--from", &from, "--config", text(&config), "--quiet"];
    assert_eq!(run(&import), (Some(0), String::new(), String::new()));
    let (code, _, error) = run(&["sync", "--config", text(&config)]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("2 of 2 artifacts here and verified"), "{error}");
    assert!(is_visible(&site.tree(), other));
    verified(&site.tree(), &corpus.key);

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

#[tokio::test]
async fn an_export_can_come_from_a_cache_behind_http() {
    let Some(fixture) = Fixture::new() else { return };
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

#[test]
fn a_bar_is_shown_on_a_terminal_and_lines_in_a_pipe() {
    let Some(fixture) = Fixture::new() else { return };
    let on_terminal = |command: &str| {
        let output = Command::new("script").args(["-qec", command, "/dev/null"]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stdout).unwrap()
    };
    let export = |to: &str, more: &str| format!("{} {more}", fixture.shell(&fixture.folder.path().join(to)));
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
