//! What the machine has and allows: families of addresses, and open files.

use std::fs;
use std::net::{Ipv6Addr, UdpSocket};

use futures::future::join_all;
use granary_nix::Hash;

use super::support::{Artifact, Corpus, Mirror, Site, Upstream, client, config, folder, noise, tools};

/// A mirror of one artifact. `change` is what its configuration says otherwise, `limits` what a shell is told about open files.
async fn mirror(
    change: impl FnOnce(String) -> String,
    limits: &str,
) -> (Mirror, (tempfile::TempDir, Upstream)) {
    let folder = folder();
    let artifacts = [Artifact::new("data-1.0", 0, noise(1000), &[])];
    let corpus = Corpus::make(folder.path(), &artifacts);
    let upstream = Upstream::serve(&corpus.cache).await;
    let site = Site::new(folder.path(), "lan");
    let config = config(&site, &upstream.url, &corpus.key, &format!("storePaths: ['{}']", artifacts[0].path));
    fs::write(&config, change(fs::read_to_string(&config).unwrap())).unwrap();
    let mirror = Mirror::run_below(site, &config, limits);
    mirror.synced(&client()).await;
    (mirror, (folder, upstream))
}

#[tokio::test]
async fn every_address_is_answered_in_both_families() {
    if !tools() {
        return;
    }
    let (mirror, _alive) = mirror(|yaml| yaml.replace("'127.0.0.1:", "'[::]:"), "").await;
    let Site { http, agent, .. } = mirror.site;
    let mut hosts = vec!["127.0.0.1"];
    if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        hosts.push("[::1]");
    }
    for host in hosts {
        for url in [format!("http://{host}:{http}/nix-cache-info"), format!("http://{host}:{agent}/metrics")]
        {
            assert_eq!(client().get(&url).send().await.unwrap().status(), 200, "{url}");
        }
    }
}

/// nginx keeps files open for the next request, and would keep more than it may have.
#[tokio::test]
async fn where_few_files_may_be_open_every_request_is_answered() {
    if !tools() {
        return;
    }
    let (mirror, _alive) = mirror(|yaml| yaml, "ulimit -Sn 100 && ulimit -Hn 300").await;
    let log = mirror.log();
    assert!(log.contains("nginx takes fewer connections") && !log.contains("RLIMIT_NOFILE"), "{log}");
    let names: Vec<String> = (0..1200_u32)
        .map(|number| format!("nar/{}.nar", Hash::of(&number.to_le_bytes()).to_nix32()))
        .collect();
    for name in &names {
        fs::write(mirror.site.tree().join(name), name).unwrap();
    }
    let client = client();
    for some in names.chunks(20) {
        let answers =
            join_all(some.iter().map(|name| client.get(format!("{}/{name}", mirror.url())).send())).await;
        for (answer, name) in answers.into_iter().zip(some) {
            assert_eq!(&answer.unwrap().text().await.unwrap(), name, "{}", mirror.log());
        }
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", mirror.pid())).unwrap();
    let open = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(open.split_whitespace().nth(3), Some("300"), "the agent has raised its own: {open}");
}
