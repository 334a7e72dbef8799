//! What the machine has and allows: families of addresses, and open files.

use std::fs;
use std::net::{Ipv6Addr, UdpSocket};

use futures::future::join_all;
use granary_nix::Hash;

use super::support::{Artifact, Mirror, Scene, wants};

#[tokio::test]
async fn every_address_is_answered_in_both_families() {
    let data = Artifact::sized("data-1.0", 1000);
    let Some(scene) = Scene::of(std::slice::from_ref(&data)).await else { return };
    let site = scene.site("lan");
    let (http, agent) = (site.http, site.agent);
    let listen = format!("listen: {{http: '[::]:{http}', agent: '[::]:{agent}'}}\n{}", wants(&[&data]));
    let mirror = scene.run_at(site, &listen);
    mirror.synced().await;
    let mut hosts = vec!["127.0.0.1"];
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        hosts.push("[::1]");
    }
    for host in hosts {
        for url in [format!("http://{host}:{http}/nix-cache-info"), format!("http://{host}:{agent}/metrics")]
        {
            assert_eq!(scene.client.get(&url).send().await.unwrap().status(), 200, "{url}");
        }
    }
}

/// nginx keeps files open for the next request, and would keep more than it may have.
#[tokio::test]
async fn where_few_files_may_be_open_every_request_is_answered() {
    let data = Artifact::sized("data-1.0", 1000);
    let Some(scene) = Scene::of(std::slice::from_ref(&data)).await else { return };
    let site = scene.site("lan");
    scene.write(&site, &wants(&[&data]));
    let mirror = Mirror::run_below(site, "ulimit -Sn 100 && ulimit -Hn 300");
    mirror.synced().await;
    let log = mirror.log();
    assert!(log.contains("nginx takes fewer connections") && !log.contains("RLIMIT_NOFILE"), "{log}");
    let names: Vec<String> = (0..1200_u32)
        .map(|number| format!("nar/{}.nar", Hash::of(&number.to_le_bytes()).to_nix32()))
        .collect();
    for name in &names {
        fs::write(mirror.site.tree().join(name), name).unwrap();
    }
    for some in names.chunks(20) {
        let bodies = join_all(some.iter().map(|name| mirror.body(name))).await;
        for (body, name) in bodies.into_iter().zip(some) {
            assert_eq!(body.as_deref(), Some(name.as_bytes()), "{}", mirror.log());
        }
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", mirror.pid())).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().nth(3), Some("300"), "the agent has raised its own: {open}");
}
