//! What may be asked, and what is hidden.

use super::{NIX, get};
use crate::support::{Artifact, Scene, header, raw, wants};

#[tokio::test]
async fn only_reading_and_only_the_cache() {
    let data = Artifact::sized("data-1.0", 200_000);
    let Some(scene) = Scene::of(std::slice::from_ref(&data)).await else { return };
    let client = &scene.client;
    let mirror = scene.synced(&wants(&[&data])).await;
    let url = |path: &str| format!("{}/{path}", mirror.url());

    let info = get(client, &url("nix-cache-info"), NIX).await;
    assert_eq!(header(&info, "content-type"), "text/x-nix-cache-info");
    assert_eq!(info.text().await.unwrap(), "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n");

    let narinfo = "0".repeat(32) + ".narinfo";
    for method in ["PUT", "POST", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["nix-cache-info", &data.narinfo(), "nar/x.nar"] {
            let request = client.request(method.parse().unwrap(), url(path)).body(vec![0; 3 << 20]);
            // The answer may come before the body is sent.
            if let Ok(answer) = request.send().await {
                assert_eq!(
                    (answer.status().as_u16(), header(&answer, "allow")),
                    (405, "GET, HEAD"),
                    "{method} {path}"
                );
            }
        }
        for path in ["", "log/x", "x.ls", "other", ".granary/id", "granary/v1/healthz", "nar/", &narinfo] {
            let answer = client.request(method.parse().unwrap(), url(path)).send().await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), header(&answer, "allow")),
                (405, "GET, HEAD"),
                "{method} {path}"
            );
        }
    }
    assert!(!mirror.log().contains("forbidden"), "a refused method is no trouble of ours: {}", mirror.log());

    std::fs::write(mirror.site.tree().join("nar/.secret"), "secret").unwrap();
    for path in [
        ".granary/id",
        "%2egranary/id",
        "nar/../.granary/id",
        "/.granary/id",
        ".granary/front/nginx.conf",
        "nar/.secret",
        "nar",
        "nar/",
        "00000000000000000000000000000000.narinfo",
        "_mirrors",
        "granary/v1/report",
    ] {
        // A client of its own words: reqwest would resolve the dots.
        let status = raw_status(mirror.site.http, &format!("/{path}")).await;
        assert!(matches!(status, 301 | 404), "{path}: {status}");
    }

    let path = mirror.nar_name(&data).await;
    let nar = scene.corpus.nar(&data);
    let head = client.head(url(&path)).send().await.unwrap();
    assert_eq!(header(&head, "content-length"), nar.len().to_string());
    assert_eq!(header(&head, "accept-ranges"), "bytes");
    assert_eq!(header(&head, "content-type"), "application/x-nix-nar");
    assert!(!header(&head, "etag").is_empty() && header(&head, "content-encoding").is_empty());
    let part = client.get(url(&path)).header("Range", "bytes=1000-").send().await.unwrap();
    assert_eq!(part.status(), 206);
    assert_eq!(part.bytes().await.unwrap(), nar[1000..]);
    let head = client.head(url(&data.narinfo())).send().await.unwrap();
    assert_eq!(head.status(), 200);
}

/// The status of a request whose path is sent as it is.
async fn raw_status(port: u16, path: &str) -> u16 {
    let answer = raw(port, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await;
    String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}
