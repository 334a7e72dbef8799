//! Redirects and NAR URLs to other hosts.

use std::net::{IpAddr, UdpSocket};

use granary_fetch::Source;
use granary_fetch::access::{Access, Hosts};
use granary_mirror::config::MapSource;
use granary_mirror::map::Follower;
use granary_mirror::sync::PassOutcome;
use granary_placement::report::RefusalReason;

use crate::common::{Cache, Reply, SILENCE, Upstream, job, mirror, source, web_client};
use crate::{is_visible, reason};

/// The source, with this list of hosts that it may lead to.
fn allowing(hosts: &[&str], source: Source) -> Source {
    let hosts = Hosts::Only(hosts.iter().map(|host| host.parse().unwrap()).collect());
    Source { access: Access { hosts, ..Access::default() }, ..source }
}

/// The host and port of a server.
fn host(upstream: &Upstream) -> &str {
    upstream.url().trim_start_matches("http://")
}

/// What becomes of an artifact whose NAR file the upstream sends elsewhere.
async fn redirected(at: IpAddr, to: &str, hosts: Option<&[&str]>) -> PassOutcome {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let upstream = Upstream::start_at(at).await;
    cache.serve(&upstream);
    upstream.set(&cache.get(&path).info.url, Reply::Redirect(to.into()));
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let mut source = source(&upstream, &cache.keys(), 40);
    if let Some(hosts) = hosts {
        source = allowing(hosts, source);
    }
    let outcome = syncer.pass(&job(vec![source], &[&path]), &()).await;
    assert_eq!(is_visible(directory.path(), &path), outcome.is_synced());
    outcome
}

/// A server that has the NAR file of [`redirected`]'s artifact, at `/x`.
async fn elsewhere() -> Upstream {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let elsewhere = Upstream::start().await;
    elsewhere.set("x", Reply::Bytes(cache.get(&path).file.clone()));
    elsewhere
}

fn loopback() -> IpAddr {
    [127, 0, 0, 1].into()
}

#[tokio::test]
async fn a_list_of_hosts_is_kept_to_by_redirects() {
    let elsewhere = elsewhere().await;
    let to = format!("{}/x", elsewhere.url());
    assert!(redirected(loopback(), &to, None).await.is_synced(), "no list, and not nearer than the upstream");
    assert!(redirected(loopback(), &to, Some(&[host(&elsewhere)])).await.is_synced());
    elsewhere.take_asked();
    for hosts in [&[][..], &["cache.example"], &["127.0.0.1"]] {
        let outcome = redirected(loopback(), &to, Some(hosts)).await;
        assert!(outcome.refused[0].message.contains("not in allowedHosts"), "{:?}", outcome.refused);
    }
    assert_eq!(elsewhere.take_asked(), [], "not even asked");
}

#[tokio::test]
async fn no_redirect_leads_to_where_clouds_keep_their_secrets() {
    for to in ["http://169.254.169.254/latest/meta-data", "http://[fe80::1]/", "http://224.0.0.1/"] {
        let outcome = redirected(loopback(), to, None).await;
        assert!(outcome.refused[0].message.contains("nearer to this machine"), "{to}: {:?}", outcome.refused);
    }
}

/// An address of this machine that others see; `None` on a machine without a network.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

#[tokio::test]
async fn an_upstream_on_the_network_does_not_lead_to_this_machine() {
    let Some(address) = own_address() else {
        println!("skipped: this machine has no network");
        return;
    };
    let elsewhere = elsewhere().await;
    let port = elsewhere.url().rsplit_once(':').unwrap().1;
    // By its address, by other notations of it, and by a name, which is only known when it is looked up.
    for name in ["127.0.0.1", "2130706433", "127.1", "[::ffff:127.0.0.1]", "localhost"] {
        let to = format!("http://{name}:{port}/x");
        let outcome = redirected(address, &to, None).await;
        assert!(outcome.refused[0].message.contains("nearer to this machine"), "{to}: {:?}", outcome.refused);
    }
    assert_eq!(elsewhere.take_asked(), []);
    let to = format!("http://localhost:{port}/x");
    let listed = format!("localhost:{port}");
    assert!(redirected(address, &to, Some(&[&listed])).await.is_synced(), "unless the configuration says so");
}

#[tokio::test]
async fn a_redirect_out_of_http_is_not_followed() {
    for to in
        ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1:70/x", "http://me:pw@127.0.0.1/x"]
    {
        let outcome = redirected(loopback(), to, None).await;
        let message = &outcome.refused[0].message;
        assert!(
            message.contains("neither http nor https") || message.contains("user name"),
            "{to}: {message}"
        );
    }
}

#[tokio::test]
async fn a_nar_url_leads_elsewhere_only_to_a_listed_host() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("a", &[]);
    let (upstream, elsewhere) = (Upstream::start().await, elsewhere().await);
    cache.get(&path).info.url = format!("{}/x", elsewhere.url());
    cache.serve(&upstream);
    for (hosts, taken) in [(None, false), (Some(&[][..]), false), (Some(&[host(&elsewhere)]), true)] {
        let directory = tempfile::tempdir().unwrap();
        let (_tree, syncer) = mirror(directory.path());
        let source = source(&upstream, &cache.keys(), 40);
        let source = hosts.map_or(source.clone(), |hosts| allowing(hosts, source));
        let outcome = syncer.pass(&job(vec![source], &[&path]), &()).await;
        assert_eq!(outcome.refused.is_empty(), taken, "{outcome:#?}");
        if !taken {
            assert_eq!(reason(&outcome, &path), Some(RefusalReason::ForbiddenUrl));
            assert_eq!(elsewhere.take_asked(), []);
        }
    }
}

/// What becomes of a document that no source has, such as a channel's list, when its server sends elsewhere.
async fn document(at: IpAddr, to: &str) -> Result<String, String> {
    let server = Upstream::start_at(at).await;
    server.set("list", Reply::Redirect(to.into()));
    let answer = web_client().get(&format!("{}/list", server.url()), &[], SILENCE).await;
    answer.map(|answer| answer.url().to_string()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn lists_and_the_map_lead_no_further_than_an_upstream() {
    let elsewhere = elsewhere().await;
    let there = format!("{}/x", elsewhere.url());
    assert_eq!(document(loopback(), &there).await, Ok(there), "another host that is no nearer");
    elsewhere.take_asked();
    for (to, words) in [
        ("http://169.254.169.254/latest/meta-data", "nearer to this machine"),
        ("http://[fe80::1]/", "nearer to this machine"),
        ("file:///etc/passwd", "neither http nor https"),
        ("http://me:pw@127.0.0.1/x", "user name"),
        ("/list", "more than 10 redirects"),
    ] {
        let error = document(loopback(), to).await.unwrap_err();
        assert!(error.contains(words), "{to}: {error}");
    }
    if let Some(address) = own_address() {
        let port = elsewhere.url().rsplit_once(':').unwrap().1;
        for name in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "localhost"] {
            let error = document(address, &format!("http://{name}:{port}/x")).await.unwrap_err();
            assert!(error.contains("nearer to this machine"), "{name}: {error}");
        }
        assert_eq!(elsewhere.take_asked(), []);
    } else {
        println!("skipped in part: this machine has no network");
    }

    let operator = Upstream::start().await;
    operator.set("map", Reply::Redirect("http://169.254.169.254/map".into()));
    let directory = tempfile::tempdir().unwrap();
    let url = Some(format!("{}/map", operator.url()).parse().unwrap());
    let source = MapSource { url, file: None, poll: SILENCE };
    let mut follower = Follower::open(source, directory.path().join("map.json"), web_client());
    follower.look().await;
    assert!(follower.troubles().contains("nearer to this machine"), "{}", follower.troubles());
}
