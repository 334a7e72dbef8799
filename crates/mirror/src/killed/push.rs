//! A process that takes pushes over a socket, in the order in which Nix sends them: the NAR file, then the narinfo.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use granary_fetch::{Fetcher, Limits};
use granary_nix::{CacheInfo, HashPart, PublicKeys, StorePath};
use tokio::net::TcpListener;

use super::child::{Child, Orders, say, say_goodbye, wait_for_the_end};
use super::{End, NEVER, Work};
use crate::common::Cache;
use crate::common::cache::Artifact;
use crate::extras::Keeper;
use crate::metrics::Metrics;
use crate::push::Push;
use crate::push::settings::Push as Settings;
use crate::refusals::Refusals;
use crate::tree::crashes::{Numbers, directory, files};
use crate::tree::{Layout, Tree};
use crate::verify::TreeCheck;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A client with artifacts to push.
struct Pushing {
    seed: u64,
    cache: Cache,
    /// What an undisturbed process makes of them.
    files: BTreeMap<PathBuf, Vec<u8>>,
}

/// Small and larger ones, of which some need others, and two have one NAR file.
fn cache(seed: u64) -> Cache {
    let (mut cache, mut numbers) = (Cache::new("test-1"), Numbers(seed, 0));
    let mut paths: Vec<StorePath> = Vec::new();
    for number in 0..5 {
        let mut references: Vec<&StorePath> = paths.iter().collect();
        references.retain(|_| numbers.below(2) == 0);
        let size = [300, 30_000][numbers.below(2)];
        paths.push(cache.add_sized(&format!("pushed-{seed}-{number}"), &references, size));
    }
    let first = cache.artifacts[0].clone();
    let last = cache.get(&paths[4]);
    let Artifact { info, file } = first;
    last.file = file;
    (last.info.url, last.info.file_hash, last.info.file_size) = (info.url, info.file_hash, info.file_size);
    (last.info.nar_hash, last.info.nar_size) = (info.nar_hash, info.nar_size);
    cache.sign(&paths[4]);
    cache
}

/// Sends a file in two halves; the status of the answer.
fn put(port: u16, name: &str, content: &[u8]) -> io::Result<u16> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    let length = content.len();
    let head = format!(
        "PUT /{name} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    let (start, rest) = content.split_at(length / 2);
    stream.write_all(start)?;
    stream.write_all(rest)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    status.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

impl Pushing {
    /// Pushes everything, as long as somebody is there.
    fn push_all(&self, port: u16, told: &mut HashSet<HashPart>) -> io::Result<()> {
        for Artifact { info, file } in &self.cache.artifacts {
            let hash = info.store_path.hash_part();
            assert_eq!(put(port, &info.url, file)?, 201, "{}", info.url);
            let status = put(port, &hash.narinfo_name(), info.to_text().as_bytes())?;
            assert!([200, 201].contains(&status), "{hash}: {status}");
            told.insert(hash);
        }
        Ok(())
    }
}

impl Work for Pushing {
    fn of(seed: u64) -> Self {
        let mut work = Self { seed, cache: cache(seed), files: BTreeMap::new() };
        let directory = directory();
        assert!(matches!(work.run(directory.path(), NEVER, &mut HashSet::new()), End::Done(_)));
        work.files = files(directory.path());
        work
    }

    fn run(&self, directory: &Path, step: usize, told: &mut HashSet<HashPart>) -> End {
        let mut child = Child::start("push::child", directory, (self.seed, step), "");
        let pushed = match child.hear(&["port"]) {
            Some((_, port)) => self.push_all(port.parse().unwrap(), told),
            None => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        let end = child.end();
        assert!(pushed.is_ok() || end == End::Killed, "{pushed:?}");
        end
    }

    fn keys(&self) -> PublicKeys {
        self.cache.keys()
    }

    fn check(&self, directory: &Path, told: &HashSet<HashPart>, when: &str) {
        let layout = Layout::new(directory);
        for hash in self.cache.artifacts.iter().map(|artifact| artifact.info.store_path.hash_part()) {
            let published = fs::read(layout.narinfo(&hash)).ok();
            assert!(published.is_none() || layout.kept_mark(&hash).exists(), "{when}: {hash} has no mark");
            if told.contains(&hash) {
                assert!(published.is_some(), "{when}: {hash} was said to be published");
                let answered = fs::read(layout.catalog_narinfo(&hash)).ok();
                assert_eq!(answered, published, "{when}: clients are answered from the catalog");
            }
        }
    }

    fn check_done(&self, directory: &Path, check: &TreeCheck, when: &str) {
        assert_eq!(check.notes, [], "{when}: nothing lies about");
        assert_eq!(check.artifacts, self.cache.artifacts.len() as u64, "{when}");
        let found = files(directory);
        if !self.files.is_empty() {
            let names = found.keys().chain(self.files.keys());
            let other: Vec<_> = names.filter(|name| found.get(*name) != self.files.get(*name)).collect();
            assert!(other.is_empty(), "{when}: not as undisturbed: {other:?}");
        }
    }
}

#[test]
fn processes_killed_before_every_step_of_a_push_leave_valid_caches_with_all_that_was_acknowledged() {
    super::kill::<Pushing>();
}

/// Not a test by itself: what is killed.
#[tokio::test]
#[ignore = "run by a test of its own, which tells it where it ends"]
async fn child() {
    let Some(Orders { directory, .. }) = Orders::given() else { return };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let elsewhere = tempfile::tempdir().unwrap();
    let token_file = elsewhere.path().join("tokens");
    fs::write(&token_file, TOKEN).unwrap();
    let public_keys = Cache::new("test-1").keys();
    let settings = Settings { token_file, max_size: 1 << 30, public_keys };
    let tree = Arc::new(Tree::open(&directory, &CacheInfo::default()).unwrap());
    let fetcher = Fetcher::new(Limits::default()).unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let counted = metrics.extras().clone();
    let refusals = Arc::new(Refusals::new(Arc::clone(&tree), metrics));
    let keeper = Keeper::new(tree, fetcher, crate::config::Extras::default(), Vec::new(), counted);
    let push = Arc::new(Push::new(settings, Arc::new(keeper), refusals, 2, None).unwrap());
    let router = Router::new().fallback(move |request: Request| {
        let push = Arc::clone(&push);
        async move { push.put(request).await.0 }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    say("port", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::task::spawn_blocking(wait_for_the_end).await.unwrap();
    server.abort();
    say_goodbye();
}
