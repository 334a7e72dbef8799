//! Content-addressed derivations and paths, by a mirror that had them from an upstream, for newer clients.

use std::fs;

use super::support::{
    Builder, Built, Mirror, Site, Upstream, Version, config, eventually, folder, names, text, tools,
};

const NEWER: [&str; 2] = ["GRANARY_NIX_TRIXIE", "GRANARY_NIX_SID"];

// The upstream has to answer while this thread waits for Nix.
#[tokio::test(flavor = "multi_thread")]
async fn newer_versions_of_nix_get_content_addressed_derivations_that_a_mirror_pulled() {
    if !tools() {
        return;
    }
    let (folder, clients) = (folder(), NEWER.into_iter().filter_map(Version::by).collect::<Vec<_>>());
    let cache = folder.path().join("cache");
    // By the machine's own: one that was only unpacked can substitute, and does not find what it needs to build.
    let Some(built) = Built::make(folder.path()) else { return };
    built.cache(&cache);
    let Built { key, addressed, .. } = &built;
    // Each version may be the first, which has the realisation fetched, and the last, which has it from the mirror alone.
    for first in 0..clients.len() {
        let name = format!("first-{first}");
        let base = folder.path().join(&name);
        let site = Site::new(folder.path(), &name);
        let upstream = Upstream::serve(&cache).await;
        config(&site, &upstream.url, key, &format!("storePaths: ['{addressed}']"));
        let mirror = Mirror::run(site);
        mirror.synced().await;
        let realisations = mirror.site.tree().join("realisations");
        assert!(names(&realisations).is_empty());
        for (number, client) in clients.iter().cycle().skip(first).take(clients.len()).enumerate() {
            let folder = base.join(format!("client-{number}"));
            fs::create_dir(&folder).unwrap();
            let (builder, store) = (Builder::of(&folder, client.clone()), folder.join("store"));
            let got = builder.substitute_addressed(&store, &mirror.url(), key);
            assert_eq!(got, *addressed, "{client:?}");
            assert_eq!(fs::read(format!("{}{addressed}", store.display())).unwrap(), b"hello\n");
            let kept = async || (names(&realisations).len() == 1).then_some(());
            eventually("the realisation is kept, for a client asked for it", kept).await;
            upstream.down(true);
        }
        mirror.verified(key);
    }
}

/// A path that is named by its content and signed by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn newer_versions_of_nix_get_unsigned_content_addressed_paths_that_a_mirror_pulled() {
    if !tools() {
        return;
    }
    let folder = folder();
    for variable in NEWER {
        let Some(version) = Version::by(variable) else { continue };
        let base = folder.path().join(variable);
        fs::create_dir(&base).unwrap();
        let (builder, store) = (Builder::of(&base, version), base.join("made"));
        let content = super::support::noise(200_000);
        let file = base.join("data-1.0");
        fs::write(&file, &content).unwrap();
        let path =
            builder.good(&["store", "add-file", "--store", text(&store), text(&file)]).trim().to_owned();
        let cache = base.join("cache");
        builder.good(&[
            "copy",
            "--from",
            text(&store),
            "--to",
            &format!("file://{}", cache.display()),
            &path,
        ]);
        let narinfo = format!("{}.narinfo", &path[11..43]);
        let said = fs::read_to_string(cache.join(&narinfo)).unwrap();
        assert!(said.contains("\nCA: fixed:") && !said.contains("\nSig: "), "{said}");

        let upstream = Upstream::serve(&cache).await;
        let site = Site::new(&base, "lan");
        let upstreams =
            format!("upstreams: [{{url: '{}', publicKeys: [], contentAddressed: Accept}}]", upstream.url);
        config(&site, "", "", &format!("{upstreams}\nstorePaths: ['{path}']"));
        let mirror = Mirror::run(site);
        mirror.synced().await;
        upstream.down(true);
        let to = base.join("client");
        let options = ["--option", "trusted-public-keys", "", "--option", "require-sigs", "true"];
        let copy = ["copy", "--from", &mirror.url(), "--to", text(&to), &path];
        builder.good(&[&copy[..], &options].concat());
        assert!(fs::read(format!("{}{path}", to.display())).unwrap() == content, "{path}");
        builder.good(&["store", "verify", "--store", text(&to), &path]);
    }
}
