//! The list of a revision: one that is none, one that is not there yet, one that is very long.

use std::fmt::Write as _;

use super::super::common::cache::xz;
use super::super::common::{Cache, Reply, Upstream, source};
use super::{LIST, Site};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_list_changes_nothing() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("path", &[]);
    let site = Site::new(cache, 1).await;
    site.list("1", &[&path]);
    site.round().await;
    let whole = xz(format!("{path}\n").as_bytes());
    for bad in [
        Reply::Bytes(b"<html>".to_vec()),
        Reply::Bytes(xz(b"../../etc/passwd\n")),
        Reply::Bytes(xz(b"")),
        Reply::Bytes(whole[..whole.len() - 4].to_vec()),
        Reply::Cut { bytes: whole.clone(), after: 10 },
        Reply::Status(404),
        Reply::Stall(whole[..10].to_vec()),
    ] {
        site.upstream.set(LIST, bad.clone());
        let report = site.round().await;
        assert!(report.trouble.is_some() && report.complete.is_some(), "{bad:?}: {report:?}");
        assert!(site.wants(&path) && site.lists() == 1, "{bad:?}");
    }
    let temp = std::fs::read_dir(site.path().join(".granary/tmp")).unwrap().count();
    assert_eq!(temp, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_list_nothing_is_unwanted() {
    let mut cache = Cache::new("test-1");
    let path = cache.add("path", &[]);
    let site = Site::new(cache, 1).await;
    assert!(site.wants.now().is_none(), "nobody has looked");
    let report = site.round().await;
    assert!(report.trouble.unwrap().contains("404") && report.looked_at.is_some());
    assert!(site.wants.now().is_none());
    site.list("1", &[&path]);
    site.round().await;
    assert!(site.wants(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_not_looked_for_where_clouds_keep_their_secrets() {
    let site = Site::new(Cache::new("test-1"), 1).await;
    site.upstream.set(LIST, Reply::Redirect("http://169.254.169.254/latest/meta-data".into()));
    let trouble = site.round().await.trouble.unwrap();
    assert!(trouble.contains("store-paths.xz cannot be had") && trouble.contains("nearer"), "{trouble}");
}

/// The most memory that this process has had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_lines_take_no_gigabyte() {
    let mut site = Site::new(Cache::new("test-1"), 1).await;
    let mut text = String::new();
    for number in 0..1_000_000_u64 {
        // Digits are hash parts that compress quickly.
        writeln!(text, "/nix/store/{number:032}-package-{number}-with-a-name-of-common-length-1.0").unwrap();
    }
    site.upstream.set(LIST, Reply::Bytes(xz(text.as_bytes())));
    drop(text);
    // Nobody gives anything: the list alone is what counts.
    let nobody = Upstream::start().await;
    site.source = Some(source(&nobody, &site.cache.keys(), 40));
    drop(nobody);
    site.open();
    let before = peak();
    let report = site.round().await;
    assert_eq!((report.artifacts, report.published, report.complete), (1_000_000, 0, None));
    assert_eq!(report.trouble, None);
    assert!(site.wants.now().is_some());
    let grown = peak() - before;
    assert!(grown < 700, "{grown} MiB");
}
