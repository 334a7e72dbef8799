//! What the tests share: a signed cache made in memory, and a server for it that misbehaves when told to.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of this")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests, whose helpers clippy does not take for such")]

pub mod cache;
mod small;
pub mod upstream;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_fetch::{Fetcher, Limits, Source, SourceKind, WebClient};
use granary_mirror::sync::{Assigned, Job, PolicyJob, Syncer};
use granary_mirror::tree::Tree;
use granary_nix::{CacheInfo, PublicKeys, StorePath};

pub use cache::Cache;
pub use small::Small;
pub use upstream::{Reply, Upstream};

/// Short enough for a test to wait for, long enough for a busy machine to answer within.
pub const SILENCE: Duration = Duration::from_millis(2500);

/// How long a condition may take to come true: far longer than it ever should, on a slow machine that does much else too.
pub const PATIENCE: Duration = Duration::from_mins(4);

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Puts a file there for which Linux gives an EIO: nothing is mapped at the start of what it leads to.
pub fn make_unreadable(path: &Path) {
    std::fs::remove_file(path).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", path).unwrap();
    assert_eq!(std::fs::read(path).unwrap_err().raw_os_error(), Some(5));
}

/// A fetcher with short limits.
pub fn fetcher() -> Fetcher {
    // The first test of the process installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let limits = Limits {
        silence: SILENCE,
        pace_window: SILENCE,
        connect: SILENCE,
        max_nar_size: Some(8 << 20),
        pace_bytes: 100,
        ..Limits::default()
    };
    Fetcher::new(limits).unwrap()
}

/// A client for lists of channels, with short limits.
pub fn web_client() -> WebClient {
    WebClient::new(fetcher().limits()).unwrap()
}

/// The tree at `directory`, with a syncer for it.
pub fn mirror(directory: &Path) -> (Arc<Tree>, Syncer) {
    let info = CacheInfo { want_mass_query: true, priority: Some(30), ..CacheInfo::default() };
    let tree = Arc::new(Tree::open(directory, &info).unwrap());
    (Arc::clone(&tree), Syncer::new(tree, fetcher()))
}

/// An upstream as a source, trusted through `keys`.
pub fn source(upstream: &Upstream, keys: &PublicKeys, priority: u32) -> Source {
    Source::new(upstream.url().parse().unwrap(), keys, priority, SourceKind::Upstream)
}

/// A job with one policy, everything assigned here.
pub fn job(sources: Vec<Source>, roots: &[&StorePath]) -> Job {
    let roots = roots.iter().map(|root| (*root).clone()).collect();
    Job {
        policies: vec![PolicyJob { name: "all".into(), roots, assigned: Assigned::All }],
        sources,
        ..Job::default()
    }
}
