//! Clients that take too much: a flood, a trickle, many transfers. Others do not notice.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures::future::join_all;
use reqwest::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{Artifact, Mirror, Scene, client, eventually, wants};

/// A mirror of one artifact of this size.
async fn mirror(size: usize, clients: &str) -> Option<(Scene, Mirror, Artifact)> {
    let data = Artifact::sized("data-1.0", size);
    let scene = Scene::of(std::slice::from_ref(&data)).await?;
    let mirror = scene.synced(&format!("{}\nclients: {clients}", wants(&[&data]))).await;
    Some((scene, mirror, data))
}

/// A client with an address of its own.
fn from(last: u8) -> Client {
    drop(client());
    let address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
    Client::builder().local_address(address).pool_max_idle_per_host(0).build().unwrap()
}

#[tokio::test]
async fn a_flood_is_told_to_wait_and_an_honest_client_is_only_slowed_down() {
    let Some((_scene, mirror, data)) = mirror(1000, "{requestsPerSecond: 20}").await else { return };
    let narinfo = format!("{}/{}", mirror.url(), data.narinfo());
    let absent = format!("{}/{}.narinfo", mirror.url(), "0".repeat(32));
    let statuses = async |client: &Client, url: &str, count: usize| {
        let all = join_all((0..count).map(|_| client.get(url).send())).await;
        all.into_iter().map(|answer| answer.unwrap()).collect::<Vec<_>>()
    };

    // What Nix asks in a burst is answered, all of it.
    let honest = statuses(&from(2), &narinfo, 60).await;
    assert!(honest.iter().all(|answer| answer.status() == 200));

    // Far more at once than may wait, however long it takes to ask. Absent ones count too.
    for (address, url, good) in [(3, &narinfo, 200), (4, &absent, 404)] {
        let flood = statuses(&from(address), url, 600).await;
        let refused: Vec<_> = flood.iter().filter(|answer| answer.status() == 429).collect();
        assert!(refused.len() > 50, "{} of {}", refused.len(), flood.len());
        assert!(refused.iter().all(|answer| answer.headers().contains_key("retry-after")));
        let others = flood.iter().filter(|answer| answer.status() == good).count();
        assert_eq!(others + refused.len(), flood.len(), "nothing else is answered, and no 5xx");
    }
    assert_eq!(from(5).get(&narinfo).send().await.unwrap().status(), 200, "another address");
}

#[tokio::test]
async fn a_trickle_of_bytes_keeps_nobody_out() {
    let Some((_scene, mirror, data)) = mirror(1000, "{maxConnections: 64, headerSeconds: 2}").await else {
        return;
    };
    // More connections than there may be, each with a request that does not end.
    let mut slow = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", mirror.site.http)).await.unwrap();
        stream.write_all(b"GET /nix-cache-info HTTP/1.1\r\nHost: x\r\nX: ").await.unwrap();
        slow.push(tokio::spawn(async move {
            let mut byte = [0; 1];
            loop {
                tokio::select! {
                    read = stream.read(&mut byte) => return read,
                    () = tokio::time::sleep(Duration::from_millis(200)) => {
                        stream.write_all(b"x").await?;
                    }
                }
            }
        }));
    }
    // nginx gives each of them up, and not after the minute that it would by itself: that would be four minutes for all.
    let ended = tokio::time::timeout(Duration::from_mins(2), join_all(slow)).await;
    assert!(ended.is_ok(), "all are given up, one full house after the other");
    let ended = ended.unwrap();
    assert!(ended.iter().all(|end| !matches!(end.as_ref().unwrap(), Ok(1))), "none of them is answered");
    let narinfo = format!("{}/{}", mirror.url(), data.narinfo());
    assert_eq!(client().get(narinfo).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn one_address_has_so_many_transfers_and_others_have_theirs() {
    let Some((scene, mirror, data)) = mirror(48 << 20, "{connectionsPerAddress: 2}").await else { return };
    let url = format!("{}/{}", mirror.url(), scene.corpus.narinfo(&data).url);
    // Transfers that stand still: more than sockets hold on the way.
    let one = from(2);
    let held = [one.get(&url).send().await.unwrap(), one.get(&url).send().await.unwrap()];
    assert!(held.iter().all(|answer| answer.status() == 200));
    let third = one.get(&url).send().await.unwrap();
    assert_eq!(third.status(), 503);
    assert_eq!(third.headers()["retry-after"], "5");
    let narinfo = format!("{}/{}", mirror.url(), data.narinfo());
    assert_eq!(one.get(&narinfo).send().await.unwrap().status(), 200, "a narinfo takes no time");
    assert_eq!(from(3).head(&url).send().await.unwrap().status(), 200, "another address");
    drop(held);
    eventually("the address has its turn again", async || {
        (one.head(&url).send().await.unwrap().status() == 200).then_some(())
    })
    .await;
}
