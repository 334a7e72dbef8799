//! What is served beside artifacts, made by the real Nix and read by it through a mirror: build logs, a content-addressed
//! derivation, listings, the debug index.

use std::path::PathBuf;

use reqwest::{Client, StatusCode};

use super::support::{
    BUILD_ID, Built, Mirror, Site, Upstream, client, config, eventually, folder, names, tools,
};

async fn get(client: &Client, url: String) -> (StatusCode, Vec<u8>) {
    let answer = client.get(url).send().await.unwrap();
    (answer.status(), answer.bytes().await.unwrap().into())
}

// The upstream has to answer while this thread waits for Nix.
#[tokio::test(flavor = "multi_thread")]
async fn nix_reads_through_a_mirror_what_nix_wrote_beside_artifacts() {
    if !tools() {
        return;
    }
    let (folder, client) = (folder(), client());
    let cache = folder.path().join("cache");
    let Some(built) = Built::make(folder.path()) else { return };
    built.cache(&cache);
    let Built { builder, key, app, addressed, .. } = &built;
    let hash = |path: &str| path[11..43].to_owned();
    let realisations = names(&cache.join("realisations"));
    assert_eq!(realisations.len(), 2, "{realisations:?}");

    let upstream = Upstream::serve(&cache).await;
    let site = Site::new(folder.path(), "lan");
    config(&site, &upstream.url, key, &format!("storePaths: ['{app}', '{addressed}']"));
    let mut mirror = Mirror::run(site);
    mirror.synced().await;
    let tree = mirror.site.tree();
    // Beside the artifacts without anybody asking: listings, logs, the debug index.
    let there =
        [format!("{}.ls", hash(app)), format!("{}.ls", hash(addressed)), format!("debuginfo/{BUILD_ID}")];
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
    let substitute = |name: &str| builder.substitute_addressed(&folder.path().join(name), &mirror.url(), key);
    assert_eq!(substitute("first"), *addressed);
    upstream.down(true);
    assert_eq!(substitute("second"), *addressed, "it is in the tree now");
    let inside = format!("{}{addressed}", folder.path().join("second").display());
    assert_eq!(std::fs::read(inside).unwrap(), b"hello\n");
    let [kept] = &names(&tree.join("realisations"))[..] else { panic!("one realisation is kept") };
    let original = std::fs::read(cache.join("realisations").join(kept)).unwrap();
    for name in [kept.clone(), kept.replace('!', "%21")] {
        let answer = get(&client, format!("{}/realisations/{name}", mirror.url())).await;
        assert_eq!(answer, (StatusCode::OK, original.clone()), "{name}");
    }

    // Logs and contents, from the mirror alone.
    for (path, says) in [(app, "built with debug information"), (addressed, "built by its content")] {
        let log = builder.good(&["log", "--store", &mirror.url(), path]);
        assert!(log.contains(says), "{log}");
    }
    let listed = builder.good(&["store", "ls", "--recursive", "--store", &mirror.url(), app]);
    assert!(listed.contains("lib/debug/.build-id/3d"), "{listed}");
    // Nobody knows whether there is another log.
    let unknown = format!("{}/log/{}-x.drv", mirror.url(), hash(app));
    let answer = client.get(&unknown).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    upstream.down(false);
    assert_eq!(get(&client, unknown).await.0, 404);

    let answer = client.head(format!("{}/{}", mirror.url(), there[0])).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let put = client.put(format!("{}/{}", mirror.url(), there[0])).body("x").send().await.unwrap();
    assert_eq!(put.status(), 405);
    assert_eq!(mirror.stop(), Some(0), "{}", mirror.log());
    let said = mirror.verified(key);
    assert!(said.contains("6 files beside them (2 of them logs)"), "{said}");
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
        config(&site, &upstream.url, &key, &format!("storePaths: ['{path}']"));
        let mirror = Mirror::run(site);
        mirror.synced().await;
        let original = std::fs::read(cache.join("realisations").join(file)).unwrap();
        let name = file.replace("%21", "!");
        for spelled in [name.replace('!', "%21"), name.clone()] {
            let answer = get(&client, format!("{}/realisations/{spelled}", mirror.url())).await;
            assert_eq!(answer, (StatusCode::OK, original.clone()), "{version}: {spelled}\n{}", mirror.log());
        }
        assert_eq!(names(&mirror.site.tree().join("realisations")), [name], "one file for both");
    }
}
