//! What a process that ended in the middle leaves, and what the next one makes of it.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use granary_mirror::tree::{Tree, TreeError};
use granary_nix::{CacheInfo, StorePath};
use nix::sys::signal::Signal;

use super::clean;
use super::common::cache::Artifact;
use super::common::{Cache, Reply, Upstream, job, mirror, source};
use super::mirrored::Mirrored;

#[tokio::test]
async fn whatever_a_crash_leaves_the_tree_is_valid_and_is_completed() {
    let mut cache = Cache::new("test-1");
    let base = cache.add("base", &[]);
    let top = cache.add("top", &[&base]);
    let upstream = Upstream::of(&cache).await;
    let directory = tempfile::tempdir().unwrap();
    drop(mirror(directory.path()));
    // Half a NAR file under a temporary name; a whole one that got its name just before the crash; half a narinfo.
    let temp = directory.path().join(".granary/tmp");
    fs::write(temp.join("7"), &cache.get(&base).file[..100]).unwrap();
    fs::write(temp.join("8"), "StorePath: /nix/st").unwrap();
    let artifact = cache.get(&top).clone();
    fs::write(directory.path().join(&artifact.info.url), &artifact.file).unwrap();
    let check = clean(directory.path(), &cache.keys());
    assert_eq!(
        (check.artifacts, check.notes.len()),
        (0, 1),
        "a NAR file without a narinfo is no fault: {check:?}"
    );

    let (tree, syncer) = mirror(directory.path());
    assert_eq!(fs::read_dir(&temp).unwrap().count(), 0, "what was half-written is removed");
    let outcome = syncer.pass(&job(vec![source(&upstream, &cache.keys(), 40)], &[&top]), &()).await;
    assert!(outcome.is_synced(), "{outcome:#?}");
    assert_eq!(tree.totals().artifacts, 2);
    assert_eq!(clean(directory.path(), &cache.keys()).notes, []);
}

#[tokio::test]
async fn a_pass_that_is_dropped_leaves_nothing_visible() {
    let mut cache = Cache::new("test-1");
    let base = cache.add_sized("base", &[], 200_000);
    let top = cache.add("top", &[&base]);
    let mut site = Mirrored::of(cache).await;
    let artifact = site.cache.get(&base).clone();
    site.upstream.set(&artifact.info.url, Reply::Stall(artifact.file[..100_000].into()));
    let job = site.job(&[&top]);
    // The pass waits for the silent upstream, with what it had so far.
    let half = async {
        let some = |file: fs::DirEntry| file.metadata().is_ok_and(|data| data.len() > 0);
        while !fs::read_dir(site.tree.layout().temp()).unwrap().any(|file| file.is_ok_and(some)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        outcome = site.syncer.pass(&job, &()) => panic!("it has ended: {outcome:#?}"),
        () = half => {}
    }
    assert!(!site.is_visible(&base) && !site.is_visible(&top));
    assert_eq!(site.clean().artifacts, 0);
    site.upstream.set(&artifact.info.url, Reply::Bytes(artifact.file));
    assert!(site.syncer.pass(&job, &()).await.is_synced(), "the next pass is not held up by it");
    assert_eq!(site.tree.totals().artifacts, 2);
    site.clean();
}

/// When the program is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// When it has asked so often: for all narinfos, then for NAR files.
    Asked(usize),
    /// When the catalog has so many files; it is written before the first NAR file is asked for.
    InCatalog(usize),
}

/// The real program, killed when it has asked so often or has so much of its catalog. One NAR file never comes, so that it does
/// not end before.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_the_tree_is_valid() {
    let mut cache = Cache::new("test-1");
    let mut paths: Vec<StorePath> = Vec::new();
    for number in 0..25 {
        let references: Vec<StorePath> = paths.iter().rev().step_by(2).take(5).cloned().collect();
        paths.push(cache.add(&format!("p{number}"), &references.iter().collect::<Vec<_>>()));
    }
    let upstream = Upstream::of(&cache).await;
    let Artifact { info, file } = cache.get(&paths[24]);
    upstream.set(&info.url, Reply::Hang { after: file.len() / 2, bytes: file.clone() });
    let directory = tempfile::tempdir().unwrap();
    let key = cache.key.public_key();
    let roots: Vec<String> = paths.iter().map(ToString::to_string).collect();
    let moments = (1..=50).step_by(2).map(Moment::Asked).chain((1..=25).step_by(2).map(Moment::InCatalog));
    let (mut midway, all) = (0, moments.clone().count());
    for moment in moments {
        let tree = directory.path().join(format!("{moment:?}"));
        let config = directory.path().join("config.yaml");
        let text = format!(
            "directory: {:?}\nupstreams: [{{url: \"{}\", publicKeys: [\"{key}\"]}}]\nstorePaths: [{}]\n",
            tree,
            upstream.url(),
            roots.join(", ")
        );
        fs::write(&config, text).unwrap();
        let mut sync = Command::new(env!("CARGO_BIN_EXE_granary-mirror"))
            .args(["sync", "--config"])
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut asked = 0;
        while sync.try_wait().unwrap().is_none() {
            asked += upstream.take_asked().len();
            let written = fs::read_dir(tree.join(".granary/catalog")).map_or(0, Iterator::count);
            if matches!(moment, Moment::Asked(number) if asked >= number)
                || matches!(moment, Moment::InCatalog(number) if written >= number)
            {
                break;
            }
            tokio::task::yield_now().await;
        }
        sync.kill().unwrap();
        midway += usize::from(sync.wait().unwrap().signal() == Some(Signal::SIGKILL as i32));
        upstream.take_asked();
        if tree.join("nix-cache-info").exists() {
            clean(&tree, &cache.keys());
        }
    }
    assert_eq!(midway, all, "none had ended by itself");
}

#[test]
fn one_directory_belongs_to_one_process_and_keeps_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let info = CacheInfo::default();
    let tree = Tree::open(directory.path(), &info).unwrap();
    assert!(matches!(Tree::open(directory.path(), &info), Err(TreeError::InUse { .. })));
    let id = tree.id().to_owned();
    drop(tree);
    assert_eq!(Tree::open(directory.path(), &info).unwrap().id(), id);
    fs::write(directory.path().join(".granary/id"), "").unwrap();
    let other = Tree::open(directory.path(), &info).unwrap().id().to_owned();
    assert!(other != id && other.len() == 32, "a lost id is not guessed: {other}");
}
