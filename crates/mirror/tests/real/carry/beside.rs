//! `export` and `import` of what goes with artifacts, as the real Nix writes and reads it: logs, listings, realisations, the
//! debug index.

use std::fs;
use std::path::Path;

use crate::support::{
    BUILD_ID, Builder, Built, Mirror, Site, Version, config, folder, names, run, text, tools, verified,
};

/// Nix reads logs and content-addressed derivations from a directory that is a cache, in this version.
fn is_read_by(version: Version, folder: &Path, built: &Built, stick: &Path) {
    let builder = Builder::of(folder, version);
    let from = format!("file://{}", stick.display());
    for (path, says) in
        [(&built.app, "built with debug information"), (&built.addressed, "built by its content")]
    {
        let log = builder.good(&["log", "--store", &from, path]);
        assert!(log.contains(says), "{log}");
    }
    let store = folder.join("isolated");
    assert_eq!(builder.substitute_addressed(&store, &from, &built.key), built.addressed);
    let inside = format!("{}{}", store.display(), built.addressed);
    assert_eq!(fs::read(inside).unwrap(), b"hello\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_with_artifacts_is_carried_and_nix_reads_it_at_the_site() {
    if !tools() {
        return;
    }
    let folder = folder();
    let [cache, stick] = ["cache", "stick"].map(|name| folder.path().join(name));
    let Some(built) = Built::make(folder.path()) else { return };
    built.cache(&cache);
    let Built { key, app, addressed, .. } = &built;
    let export = || {
        let (code, out, error) =
            run(&["export", "--from", text(&cache), "--to", text(&stick), "--public-key", key]);
        assert_eq!((code, out.as_str()), (Some(0), ""), "{error}");
        error
    };
    // Two listings, logs and realisations, and an entry of the debug index.
    let error = export();
    assert!(
        error.contains("copied 2 artifacts") && error.contains("; 7 files beside them, 0 left"),
        "{error}"
    );
    let [app_listing, addressed_listing] = [app, addressed].map(|path| format!("{}.ls", &path[11..43]));
    let same =
        |name: &str| assert_eq!(fs::read(stick.join(name)).unwrap(), fs::read(cache.join(name)).unwrap());
    same(&app_listing);
    same(&addressed_listing);
    let logs = names(&cache.join("log"));
    assert_eq!((names(&stick.join("log")), logs.len()), (logs.clone(), 2));
    for log in &logs {
        same(&format!("log/{log}"));
    }
    let realisations = names(&cache.join("realisations"));
    assert_eq!(realisations.len(), 2);
    for name in &realisations {
        same(&format!("realisations/{name}"));
    }
    let index = format!("debuginfo/{BUILD_ID}");
    let entry: serde_json::Value = serde_json::from_slice(&fs::read(stick.join(&index)).unwrap()).unwrap();
    assert!(stick.join("debuginfo").join(entry["archive"].as_str().unwrap()).is_file());
    let is_clean = || {
        let error = verified(&stick, key);
        assert!(!error.contains("note:"), "{error}");
    };
    is_clean();

    // All of it is there. What is gone, or is not right any more, is brought again.
    let error = export();
    assert!(error.contains("copied 0 artifacts") && error.contains("; 0 files beside them"), "{error}");
    fs::write(stick.join(&app_listing), "{}").unwrap();
    fs::write(stick.join("realisations").join(&realisations[0]), "{").unwrap();
    fs::remove_file(stick.join("log").join(&logs[0])).unwrap();
    fs::remove_file(stick.join(&index)).unwrap();
    let error = export();
    assert!(error.contains("copied 0 artifacts") && error.contains("; 4 files beside them"), "{error}");
    is_clean();

    is_read_by(Version::machine(), &folder.path().join("machine"), &built, &stick);
    for variable in ["GRANARY_NIX_TRIXIE", "GRANARY_NIX_SID"] {
        if let Some(version) = Version::by(variable) {
            is_read_by(version, &folder.path().join(variable), &built, &stick);
        }
    }

    // Into a mirror whose upstream is out of reach: it has it all, and serves it.
    let site = Site::new(folder.path(), "isolated-site");
    let config = config(&site, "http://127.0.0.1:1", key, &format!("storePaths: ['{app}', '{addressed}']"));
    let (code, _, error) = run(&["import", "--from", text(&stick), "--config", text(&config)]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("; 7 files beside them, 0 left"), "{error}");
    let tree = site.tree();
    for name in [app_listing, addressed_listing, index] {
        assert_eq!(fs::read(tree.join(&name)).unwrap(), fs::read(stick.join(&name)).unwrap(), "{name}");
    }
    assert_eq!((names(&tree.join("log")), names(&tree.join("realisations"))), (logs, realisations));
    let mut mirror = Mirror::run(site);
    mirror.synced().await;
    let log = built.builder.good(&["log", "--store", &mirror.url(), app]);
    assert!(log.contains("built with debug information"), "{log}");
    let store = folder.path().join("client");
    assert_eq!(built.builder.substitute_addressed(&store, &mirror.url(), key), *addressed);
    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());

    // And from the mirror's directory again, without what its configuration does not keep.
    let again = folder.path().join("again");
    let yaml = fs::read_to_string(&config).unwrap() + "extras: {logs: false}\n";
    fs::write(&config, yaml).unwrap();
    let (code, _, error) = run(&["export", "--config", text(&config), "--to", text(&again)]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("; 5 files beside them, 0 left") && !again.join("log").exists(), "{error}");
}
