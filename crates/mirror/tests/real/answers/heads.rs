//! HEAD on the wire: a head and no byte more, after which the connection goes on.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::One;
use crate::support::Scene;

/// The head of the answer to this HEAD. The next request on the same connection is answered right behind it.
async fn head(port: u16, path: &str, next: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(format!("HEAD /{path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 ") && !head.contains("connection: close"), "{path}: {head}");
    let next = format!("GET /{next} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(next.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let rest = String::from_utf8_lossy(&rest);
    // A byte of a body would stand before it.
    assert!(rest.starts_with("HTTP/1.1 200 OK\r\n"), "{path}: {head}{rest}");
    assert_eq!(rest.matches("HTTP/1.1 ").count(), 1, "{path}: {head}{rest}");
    head
}

fn status(head: &str) -> &str {
    head.split(' ').nth(1).unwrap()
}

#[tokio::test]
async fn a_head_has_no_body_whoever_answers_it_and_the_connection_goes_on() {
    let Some(one) = One::new().await else { return };
    let mirror = one.mirror("lan").await;
    let (http, agent) = (mirror.site.http, mirror.site.agent);
    let (narinfo, nar) = (one.data.narinfo(), one.scene.corpus.narinfo(&one.data).url);
    let length = format!("\r\ncontent-length: {}\r\n", one.scene.corpus.nar(&one.data).len());
    let absent = "0".repeat(32);

    // The agent passes it through, and nginx has not opened it yet.
    let (file, aside) = (mirror.site.tree().join(&nar), mirror.site.base.join("aside"));
    std::fs::rename(&file, &aside).unwrap();
    for (port, next) in [(http, "nix-cache-info"), (agent, "healthz")] {
        let missed = head(port, &nar, next).await;
        assert!(status(&missed) == "200" && missed.contains(&length), "{missed}");
        assert!(!missed.contains("\r\nlast-modified:"), "it is not on the disk: {missed}");
    }
    std::fs::rename(aside, file).unwrap();

    let hit = head(http, &nar, "nix-cache-info").await;
    assert!(status(&hit) == "200" && hit.contains(&length), "{hit}");
    let info = head(http, &narinfo, &narinfo).await;
    assert!(status(&info) == "200" && info.contains("\r\ncontent-type: text/x-nix-narinfo\r\n"), "{info}");
    // What nginx does not have, and what the agent does not either.
    for path in [
        format!("{absent}.narinfo"),
        format!("{absent}.ls"),
        format!("nar/{absent}{}.nar.xz", "0".repeat(20)),
        format!("log/{absent}-x.drv"),
        "other".to_owned(),
    ] {
        let answer = head(http, &path, "nix-cache-info").await;
        assert_eq!(status(&answer), "404", "{path}");
    }
    // Neither here nor known to be absent.
    one.scene.upstream.down(true);
    let unknown = head(http, &format!("log/{absent}-y.drv"), "nix-cache-info").await;
    assert_eq!(status(&unknown), "503", "{unknown}");
}

#[tokio::test]
async fn a_head_of_what_comes_by_pull_through_has_no_body_either() {
    let Some(one) = One::new().await else { return };
    let Scene { corpus, upstream, .. } = &one.scene;
    let mirror = one.scene.run_at(one.scene.site("through"), "pullThrough: {maxSize: 1Gi}");
    mirror.ready().await;
    let (http, narinfo, nar) = (mirror.site.http, one.data.narinfo(), corpus.narinfo(&one.data).url);
    let absent = head(http, &format!("{}.narinfo", "0".repeat(32)), "nix-cache-info").await;
    assert_eq!(status(&absent), "404", "{absent}");
    let found = head(http, &narinfo, &narinfo).await;
    assert!(status(&found) == "200" && found.contains("\r\ncontent-type: text/x-nix-narinfo\r\n"), "{found}");
    let missed = head(http, &nar, "nix-cache-info").await;
    assert_eq!(status(&missed), "200", "{missed}");
    assert!(missed.contains(&format!("\r\ncontent-length: {}\r\n", corpus.nar(&one.data).len())), "{missed}");
    // Whatever that HEAD set going, the NAR is had by who asks for it.
    assert_eq!(mirror.body(&nar).await.unwrap(), corpus.nar(&one.data));
    assert!(upstream.nars() >= 1);
}
