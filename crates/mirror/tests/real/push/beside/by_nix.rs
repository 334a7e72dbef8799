//! The real Nix, in its order of things.

use std::fs;
use std::path::Path;

use crate::support::{
    Artifact, BUILD_ID, Builder, Built, Corpus, Mirror, Site, TOKEN, Upstream, Version, config, eventually,
    folder, names, netrc, run, takes_pushes, text, tools, wants,
};

/// Copies with this version to a mirror and reads it all back from there.
async fn pushed_by(version: Version, folder: &Path, built: &Built) {
    let own = Artifact::new("own-1.0", 0, b"the mirror's own".to_vec(), &[]);
    let corpus = Corpus::make(folder, std::slice::from_ref(&own));
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder, "lan");
    let push = takes_pushes(&site.base, "50Mi", &built.key);
    config(&site, &upstream.url, &corpus.key, &format!("{}\n{push}", wants(&[&own])));
    let mut mirror = Mirror::run(site);
    mirror.synced().await;

    let (builder, netrc) = (Builder::of(folder, version), netrc(folder, TOKEN));
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
