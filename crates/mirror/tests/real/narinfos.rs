//! A narinfo on its way out: seen at once, from the tree or the catalog, of any size, with its line and its header.

use std::fs;
use std::path::Path;

use reqwest::{Client, Response};

use super::support::{Artifact, Scene, header, map_of};

async fn get(client: &Client, url: &str) -> Response {
    client.get(url).header("User-Agent", "Nix/2.34").send().await.unwrap()
}

/// Puts a file where nginx looks, as the agent does: by rename.
fn publish(file: &Path, text: &str) {
    let new = file.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, file).unwrap();
}

#[tokio::test]
async fn a_narinfo_is_seen_at_once_and_named_by_its_hash_wherever_it_lies() {
    let data = Artifact::sized("data-1.0", 1000);
    let Some(scene) = Scene::of(std::slice::from_ref(&data)).await else { return };
    let client = &scene.client;
    let [site, other] = ["a-0", "b-0"].map(|name| scene.site(name));
    scene.put_map(&map_of(1, &[&site, &other], 2, &[&data.path]));
    let mirror = scene.run_at(site, &scene.follow());
    mirror.synced().await;
    mirror.names(&data, &other.url()).await;

    let (hash, second) = ("0123456789abcdfghijklmnpqrsvwxyz", "zyxwvsrqpnmlkjihgfdcba9876543210");
    let (catalog, url) =
        (mirror.site.tree().join(".granary/catalog"), format!("{}/{hash}.narinfo", mirror.url()));
    let mirrors = format!("Mirrors: {}\n", other.url());
    let link = format!("<{}/{hash}.narinfo>; rel=duplicate; pri=1", other.url());
    for _ in 0..2 {
        assert_eq!(get(client, &url).await.status(), 404);
    }

    // No answer is remembered beyond the file that gave it: there is nothing to wait for.
    let large = "References: ".to_owned() + &"0123456789abcdfghijklmnpqrsvwxyz-name ".repeat(5000) + "\n";
    for (hash, text) in [(second, "a small one\n"), (hash, &*large)] {
        publish(&catalog.join(format!("{hash}.narinfo")), text);
        let answer = get(client, &format!("{}/{hash}.narinfo", mirror.url())).await;
        assert!(answer.status() == 200 && header(&answer, "link").contains(hash), "{hash}");
        for validator in ["etag", "last-modified"] {
            assert_eq!(header(&answer, validator), "", "it would outlive a change of the line");
        }
        assert!(answer.text().await.unwrap() == format!("{text}{mirrors}"), "{hash}");
    }

    // A quoted path names the same file, a query changes nothing, HEAD has the headers of GET.
    for url in [url.replace("/0123", "/%30123"), format!("{url}?a=b")] {
        let answer = get(client, &url).await;
        assert_eq!(header(&answer, "link"), link, "{url}");
        assert!(answer.text().await.unwrap() == format!("{large}{mirrors}"), "{url}");
    }
    let head = client.head(&url).header("User-Agent", "Nix/2.34").send().await.unwrap();
    assert_eq!((head.status().as_u16(), header(&head, "link")), (200, &*link));
    assert_eq!(header(&head, "content-type"), "text/x-nix-narinfo");
}
