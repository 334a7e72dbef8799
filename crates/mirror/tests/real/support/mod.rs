//! What the tests stand on.

mod builder;
mod cutter;
mod log;
mod mirror;
mod nix;
#[path = "../../common/small.rs"]
mod small;
mod upstream;
mod version;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use builder::{BUILD_ID, Builder, Built, names};
pub use cutter::Cutter;
pub use granary_placement::report::Report;
pub use log::{AS_JSON, line_of, lines};
pub use mirror::{Mirror, Site, config, map_of};
pub use nix::{Artifact, Corpus, Nix, noise};
pub use small::Small;
pub use upstream::Upstream;
pub use version::Version;

/// How long a condition may take to come true: far longer than it ever should.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether nginx and Nix are there. Says so when they are not, and fails when they must be.
pub fn tools() -> bool {
    let missing: Vec<&str> = [("nginx", "-v"), ("nix-store", "--version"), ("nix", "--version")]
        .into_iter()
        .filter(|(program, flag)| Command::new(program).arg(flag).output().is_err())
        .map(|(program, _)| program)
        .collect();
    let required = std::env::var_os("GRANARY_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(missing.is_empty() || !required, "{missing:?} must be installed (GRANARY_REQUIRE_TOOLS=1)");
    if !missing.is_empty() {
        println!("skipped: {missing:?} not installed; run cargo xtask test");
    }
    missing.is_empty()
}

/// A folder that nginx's workers, who are nobody, may read.
pub fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// An HTTP client.
pub fn client() -> reqwest::Client {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// What comes back, to the end of the connection, for bytes that are sent as they are.
pub async fn raw(port: u16, request: &str) -> Vec<u8> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer
}

/// A port that nobody listens on now, and that this process has given to nobody else. Below the ports that the kernel
/// gives to connections, so that none of those is in the way when the listener starts.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 20_000;
    loop {
        let number = std::process::id() * 200 + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % PORTS).unwrap();
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_granary-mirror")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
