//! A disk without room: what clients ask for is passed on, and never half a file as if it were whole.

use std::fs;
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use granary_mirror::capacity::{NoRoom, Rules};
use granary_nix::{NarInfo, StorePath};
use http::StatusCode;

use super::super::common::{Cache, PATIENCE, Reply, Small, Upstream, eventually, source};
use super::super::{clean, free_port, is_visible, start_agent};
use super::{Got, Site};

const MIB: usize = 1 << 20;

/// The file that a narinfo names.
fn name(info: &NarInfo) -> &str {
    info.url.strip_prefix("nar/").unwrap()
}

/// Whether a client who asks for it now has it from here.
fn is_let_in(site: &Site, info: &NarInfo) -> bool {
    site.through.open(name(info), site.through.find_nar(name(info)).unwrap()).is_some()
}

#[tokio::test]
async fn what_does_not_fit_is_not_taken_in_by_the_rules_of_capacity_and_of_the_disk() {
    let mut cache = Cache::new("test-1");
    let [small, large] = [cache.add("small", &[]), cache.add_sized("large", &[], 2 * MIB)];
    let upstream = Upstream::of(&cache).await;
    let by_size = Rules { max_size: Some(MIB as u64), keep_free: 0 };
    for rules in [by_size, Rules { max_size: None, keep_free: u64::MAX }] {
        let site = Site::new(&[source(&upstream, &cache.keys(), 40)]);
        let [small, large] = [site.found(&small).await, site.found(&large).await];
        site.tree.capacity().limit(Some(rules));
        assert!(!is_let_in(&site, &large));
        let full = site.tree.capacity().full();
        if rules == by_size {
            assert!(matches!(full, Some(NoRoom::MaxSize { .. })), "{full:?}");
            assert!(matches!(site.get(&small).await, Got::Whole(_)));
            site.settled().await;
        } else {
            assert!(matches!(full, Some(NoRoom::Disk { .. })), "{full:?}");
        }
        site.tree.capacity().limit(None);
        assert!(matches!(site.get(&large).await, Got::Whole(_)));
        site.settled().await;
        assert_eq!(clean(site.path(), &cache.keys()).artifacts, if rules == by_size { 2 } else { 1 });
    }
}

/// What waits for its closure is on the disk, which counts it, and not a second time as what may yet be written.
#[tokio::test]
async fn what_has_come_and_waits_for_its_closure_takes_its_room_once() {
    if !Small::is_possible() {
        return;
    }
    let mut cache = Cache::new("test-1");
    let reference = cache.add("reference", &[]);
    let waits = cache.add_sized("waits", &[&reference], 5 * MIB);
    let other = cache.add_sized("other", &[], 5 * MIB);
    let upstream = Upstream::of(&cache).await;
    upstream.set(&reference.hash_part().narinfo_name(), Reply::Silent);
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let disk = Small::mount(directory.path(), "14m");
    let sources = [source(&upstream, &cache.keys(), 40)];
    let site = Site::on(Arc::clone(&directory), &sources, 1 << 30, Duration::from_mins(1));
    let other = site.found(&other).await;
    site.settled().await;
    let waits = site.found(&waits).await;
    assert!(matches!(site.get(&waits).await, Got::Whole(_)));
    assert!(matches!(site.get(&other).await, Got::Whole(_)));
    site.settled().await;
    assert_eq!(
        clean(directory.path(), &cache.keys()).artifacts,
        1,
        "that of which a reference is missing is not kept"
    );
    drop((site, disk));
}

#[tokio::test]
async fn what_came_in_part_is_no_hindrance_to_its_own_rest_and_gives_way_to_others() {
    if !Small::is_possible() {
        return;
    }
    let mut cache = Cache::new("test-1");
    let paths = ["one", "other"].map(|name| cache.add_sized(name, &[], 5 * MIB));
    let [file, _] = paths.each_ref().map(|path| cache.get(path).file.clone());
    let upstream = Upstream::of(&cache).await;
    let directory = Arc::new(tempfile::tempdir().unwrap());
    let disk = Small::mount(directory.path(), "8m");
    let sources = [source(&upstream, &cache.keys(), 40)];
    let site = Site::on(Arc::clone(&directory), &sources, 1 << 30, Duration::from_mins(1));
    let [one, other] = [site.found(&paths[0]).await, site.found(&paths[1]).await];
    site.settled().await;
    let part = directory.path().join(".granary/partial").join(one.file_hash.unwrap().to_nix32());
    // As a process leaves it that ends.
    fs::write(&part, &file[..4 * MIB]).unwrap();
    upstream.take_asked();
    assert!(!is_let_in(&site, &other), "there is no room for both");
    assert!(site.get(&one).await == Got::Whole(file.clone()));
    site.settled().await;
    let asked = upstream.take_asked();
    assert_eq!(
        asked.iter().filter_map(|asked| asked.range.as_deref()).collect::<Vec<_>>(),
        ["bytes=4194304-"]
    );
    assert!(is_visible(directory.path(), &paths[0]));
    drop(site);

    fs::remove_file(directory.path().join(one.store_path.hash_part().narinfo_name())).unwrap();
    fs::rename(directory.path().join(&one.url), &part).unwrap();
    let site = Site::on(Arc::clone(&directory), &sources, 1 << 30, Duration::from_mins(1));
    assert!(!is_let_in(&site, &other));
    site.through.make_room().await;
    assert!(!part.exists(), "somebody else asked");
    assert!(matches!(site.get(&other).await, Got::Whole(_)));
    site.settled().await;
    assert_eq!(clean(directory.path(), &cache.keys()).artifacts, 1);
    drop((site, disk));
}

/// The disk has room when the flight begins, and is filled by others before it ends.
#[tokio::test]
async fn a_disk_that_fills_up_in_the_middle_cuts_the_body_and_keeps_nothing() {
    if !Small::is_possible() {
        return;
    }
    // A large file is shown while it comes, a small one is not.
    for (size, room) in [(4 * MIB, 2 * MIB), (MIB - 4096, MIB / 2)] {
        let mut cache = Cache::new("test-1");
        let path = cache.add_sized("a", &[], size);
        let artifact = cache.get(&path).clone();
        let upstream = Upstream::of(&cache).await;
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let disk = Small::mount(directory.path(), "16m");
        let silence = Duration::from_mins(1);
        let site =
            Site::on(Arc::clone(&directory), &[source(&upstream, &cache.keys(), 40)], 1 << 30, silence);
        let info = site.found(&path).await;
        site.settled().await;
        let reader = site.open(&info);
        let free = site.tree.capacity().free().unwrap();
        let other = directory.path().join(".granary/other");
        fs::write(&other, vec![7; usize::try_from(free).unwrap() - room]).unwrap();
        match super::read(reader, None).await {
            Got::Whole(bytes) => panic!("{} of {} bytes ended well", bytes.len(), artifact.file.len()),
            Got::Cut(bytes) => assert!(size > MIB && bytes < room, "{bytes}"),
            Got::Failed => {}
            Got::Missing => panic!("the upstream has it"),
        }
        site.settled().await;
        assert!(!is_visible(directory.path(), &path));
        for half in [".granary/tmp", ".granary/partial"] {
            assert_eq!(fs::read_dir(directory.path().join(half)).unwrap().count(), 0, "{half}");
        }
        assert_eq!(site.refused(), [], "that says nothing about the artifact");
        // The next one does not even begin, so that the client has it from the upstream.
        assert!(!is_let_in(&site, &info));
        fs::remove_file(other).unwrap();
        assert!(site.get(&info).await == Got::Whole(artifact.file), "there is room again");
        site.settled().await;
        assert_eq!(clean(directory.path(), &cache.keys()).artifacts, 1);
        drop((site, disk));
    }
}

/// The real agent, of which a client asks what nginx would ask.
struct Agent {
    process: Child,
    url: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
    tree: std::path::PathBuf,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Agent {
    fn start(upstream: &Upstream, cache: &Cache, more: &str) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let (tree, config) = (folder.path().join("tree"), folder.path().join("config.yaml"));
        let (http, agent) = (free_port(), free_port());
        let text = format!(
            "directory: '{}'\nupstreams: [{{url: \"{}\", publicKeys: [\"{}\"]}}]\n\
             listen: {{http: '127.0.0.1:{http}', agent: '127.0.0.1:{agent}'}}\n{more}\n",
            tree.display(),
            upstream.url(),
            cache.key.public_key(),
        );
        fs::write(&config, text).unwrap();
        let process = start_agent(&config);
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://127.0.0.1:{agent}");
        Self { process, url, client, _folder: folder, tree }
    }

    async fn try_get(&self, path: &str) -> Option<reqwest::Response> {
        self.client.get(format!("{}/{path}", self.url)).send().await.ok()
    }

    /// The narinfo, when the agent has read its directory.
    async fn narinfo(&self, path: &StorePath) -> NarInfo {
        let path = format!("granary/v1/narinfo/{}", path.hash_part());
        let asking = async {
            loop {
                match self.try_get(&path).await {
                    Some(answer) if answer.status() == StatusCode::OK => {
                        break answer.text().await.unwrap().parse().unwrap();
                    }
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        tokio::time::timeout(PATIENCE, asking).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_a_client_gets_all_of_a_file_with_its_length_and_nothing_is_kept() {
    let mut cache = Cache::new("test-1");
    let path = cache.add_sized("large", &[], 3 * MIB);
    let file = cache.get(&path).file.clone();
    let upstream = Upstream::of(&cache).await;
    let more = "pullThrough: {maxSize: 1Gi}\ncapacity: {maxSize: 1Mi, keepFree: 0}";
    let agent = Agent::start(&upstream, &cache, more);
    let info = agent.narinfo(&path).await;
    for time in 1..=2 {
        let answer = agent.try_get(&info.url).await.unwrap();
        assert_eq!((answer.status(), answer.content_length()), (StatusCode::OK, Some(file.len() as u64)));
        assert!(answer.bytes().await.unwrap() == file, "time {time}");
    }
    let asked = upstream.take_asked().iter().filter(|asked| asked.path == info.url).count();
    assert_eq!(asked, 2, "each is passed on");
    // A body that ends early, or goes on, is no whole one.
    for wrong in [&file[..file.len() - 1], &[&file[..], b"x"].concat()] {
        upstream.set(&info.url, Reply::Unannounced(wrong.to_vec()));
        let answer = agent.try_get(&info.url).await.unwrap();
        assert!(answer.status() != StatusCode::OK || answer.bytes().await.is_err(), "{}", wrong.len());
    }
    assert!(!is_visible(&agent.tree, &path));
    // What is being written for other reasons, such as a narinfo for the catalog, is there for a moment.
    eventually("nothing is kept", || {
        ["nar", ".granary/tmp", ".granary/partial"]
            .iter()
            .all(|folder| fs::read_dir(agent.tree.join(folder)).unwrap().next().is_none())
            .then_some(())
    })
    .await;
    assert_eq!(clean(&agent.tree, &cache.keys()).artifacts, 0);
}
