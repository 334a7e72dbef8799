//! A NAR that came in part: the next process asks for the rest, and believes nothing of what it finds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use granary_nix::{PublicKey, StorePath};

use super::common::upstream::Asked;
use super::common::{Cache, Reply, Upstream, fetcher, job, mirror, source};
use super::{clean, is_visible};

const SIZE: usize = 3 << 20;
const PART: usize = 2 << 20;

fn sync(directory: &Path, upstream: &Upstream, key: &PublicKey, root: &StorePath) -> Child {
    let config = directory.join("config.yaml");
    let text = format!(
        "directory: {}\nupstreams: [{{url: \"{}\", publicKeys: [\"{key}\"]}}]\nstorePaths: [{root}]\n",
        directory.join("tree").display(),
        upstream.url(),
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_granary-mirror"));
    command.args(["sync", "--config"]).arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

/// The files that are kept in part.
fn partial(tree: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(tree.join(".granary/partial")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn ranges(asked: &[Asked], url: &str) -> Vec<Option<String>> {
    asked.iter().filter(|asked| asked.path == url).map(|asked| asked.range.clone()).collect()
}

/// What a process that was killed in the middle of a NAR leaves: a cache, an artifact, its server, which has the file again,
/// and the part.
struct Killed {
    cache: Cache,
    path: StorePath,
    upstream: Upstream,
    directory: tempfile::TempDir,
    part: PathBuf,
}

impl Killed {
    async fn in_the_middle() -> Self {
        let mut cache = Cache::new("test-1");
        let path = cache.add_sized("large", &[], SIZE);
        let upstream = Upstream::of(&cache).await;
        let artifact = cache.get(&path).clone();
        upstream.set(&artifact.info.url, Reply::Stall(artifact.file[..PART].into()));
        let directory = tempfile::tempdir().unwrap();
        let tree = directory.path().join("tree");
        let mut child = sync(directory.path(), &upstream, &cache.key.public_key(), &path);
        let part = loop {
            let found = partial(&tree).pop();
            if let Some(part) = found.filter(|part| fs::metadata(part).unwrap().len() == PART as u64) {
                break part;
            }
            assert!(child.try_wait().unwrap().is_none(), "it waits for the rest");
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        child.kill().unwrap();
        child.wait().unwrap();
        clean(&tree, &cache.keys());
        assert!(!is_visible(&tree, &path));
        upstream.set(&artifact.info.url, Reply::Bytes(artifact.file));
        upstream.take_asked();
        Self { cache, path, upstream, directory, part }
    }

    /// Lets another process do the rest; which ranges that asked for.
    async fn go_on(mut self) -> Vec<Option<String>> {
        let mut child = sync(self.directory.path(), &self.upstream, &self.cache.key.public_key(), &self.path);
        let ended = tokio::task::spawn_blocking(move || child.wait().unwrap().success());
        assert!(ended.await.unwrap());
        let tree = self.directory.path().join("tree");
        assert!(is_visible(&tree, &self.path));
        assert_eq!(partial(&tree), [""; 0].map(PathBuf::from), "nothing is left of it");
        assert_eq!(clean(&tree, &self.cache.keys()).artifacts, 1);
        ranges(&self.upstream.take_asked(), &self.cache.get(&self.path).info.url)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_nar_only_the_rest_is_asked_for() {
    let killed = Killed::in_the_middle().await;
    assert_eq!(killed.go_on().await, [Some(format!("bytes={PART}-"))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_wrong_is_fetched_once_more_from_the_start() {
    let killed = Killed::in_the_middle().await;
    let mut bytes = fs::read(&killed.part).unwrap();
    bytes[1000] ^= 1;
    fs::write(&killed.part, bytes).unwrap();
    assert_eq!(killed.go_on().await, [Some(format!("bytes={PART}-")), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_longer_than_the_file_is_forgotten() {
    let killed = Killed::in_the_middle().await;
    fs::write(&killed.part, vec![0; SIZE * 2]).unwrap();
    assert_eq!(killed.go_on().await, [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_the_whole_file_is_not_asked_for_at_all() {
    let mut killed = Killed::in_the_middle().await;
    let file = killed.cache.get(&killed.path).file.clone();
    fs::write(&killed.part, file).unwrap();
    assert_eq!(killed.go_on().await, [None; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_ranges_gives_all_of_it() {
    let mut killed = Killed::in_the_middle().await;
    let artifact = killed.cache.get(&killed.path).clone();
    killed.upstream.set(&artifact.info.url, Reply::WithoutRanges(artifact.file));
    assert_eq!(killed.go_on().await, [Some(format!("bytes={PART}-"))]);
}

#[tokio::test]
async fn an_upstream_that_breaks_off_for_good_leaves_its_part_to_the_next() {
    let mut cache = Cache::new("test-1");
    let path = cache.add_sized("large", &[], SIZE);
    let (bad, good) = (Upstream::of(&cache).await, Upstream::of(&cache).await);
    let artifact = cache.get(&path).clone();
    let cut = Reply::Cut { bytes: artifact.file.clone(), after: PART };
    bad.set(&artifact.info.url, Reply::Then(vec![cut], Box::new(Reply::Status(503))));
    let directory = tempfile::tempdir().unwrap();
    let (_tree, syncer) = mirror(directory.path());
    let sources = vec![source(&bad, &cache.keys(), 40), source(&good, &cache.keys(), 50)];
    assert!(syncer.pass(&job(sources, &[&path]), &()).await.is_synced());
    let from = Some(format!("bytes={PART}-"));
    assert_eq!(ranges(&good.take_asked(), &artifact.info.url), [from], "the same bytes, by the FileHash");
    clean(directory.path(), &cache.keys());
}

#[tokio::test]
async fn where_nothing_is_left_to_come_the_file_is_fetched_anew() {
    // Its size is not stated, so what is there may be all of it, or more.
    let mut cache = Cache::new("test-1");
    let path = cache.add_sized("large", &[], SIZE);
    let artifact = cache.get(&path);
    (artifact.info.file_hash, artifact.info.file_size) = (None, None);
    let artifact = artifact.clone();
    let upstream = Upstream::of(&cache).await;
    let url = &artifact.info.url;
    let whole = Box::new(Reply::Bytes(artifact.file.clone()));
    upstream.set(url, Reply::Then(vec![Reply::Status(416)], whole));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("part");
    fs::write(&file, &artifact.file[..PART]).unwrap();
    let source = source(&upstream, &cache.keys(), 40);
    let verified = fetcher().rest_of_nar(&source, &artifact.info, &file).await.unwrap();
    assert_eq!(verified.file_size, artifact.file.len() as u64);
    assert_eq!(ranges(&upstream.take_asked(), url), [Some(format!("bytes={PART}-")), None]);
}
