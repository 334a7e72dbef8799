//! What the tests stand on.

mod artifact;
mod authority;
mod builder;
mod cutter;
mod log;
mod mirror;
mod nix;
mod process;
mod push;
mod scene;
mod site;
#[path = "../../common/small.rs"]
mod small;
mod upstream;
mod version;

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

pub use artifact::{Artifact, flip, good_bad_and_user, library_and_app, nar_name, noise};
pub use authority::Authority;
pub use builder::{BUILD_ID, Builder, Built, names};
pub use cutter::Cutter;
pub use granary_placement::report::Report;
pub use log::{AS_JSON, line_of, lines};
pub use mirror::Mirror;
pub use nix::{Corpus, Nix};
pub use process::{Running, succeeded};
pub use push::{TOKEN, netrc, put_half, takes_pushes};
pub use scene::Scene;
pub use site::{Site, config, map_of, names_only, placed, wants};
pub use small::Small;
pub use upstream::Upstream;
pub use version::Version;

/// How long a condition may take to come true: far longer than it ever should, on a slow machine that does much else too.
const PATIENCE: Duration = Duration::from_mins(4);

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

/// What `look` finds, sooner or later; `None` when it does not.
async fn in_time<T>(mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        let found = look().await;
        if found.is_some() || Instant::now() >= end {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until `look` finds something.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    in_time(look).await.unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

/// A header of an answer, or nothing.
pub fn header<'a>(answer: &'a reqwest::Response, name: &str) -> &'a str {
    answer.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

/// An HTTP client that keeps no connection: nginx closes idle ones whenever it reads its configuration again, maybe just as
/// the next request is sent.
pub fn client() -> reqwest::Client {
    // Another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap()
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

/// A port that nobody listens on now, and that no test of this or another process is given while this one runs. Below the
/// ports that the kernel gives to connections, so that none of those is in the way when the listener starts.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const PORTS: u32 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // A name that one process at a time can have, and that goes with it.
    static GIVEN: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    loop {
        let number = std::process::id() * 200 + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + number % PORTS).unwrap();
        let name = SocketAddr::from_abstract_name(format!("granary-test-port-{port}")).unwrap();
        let Ok(given) = UnixListener::bind_addr(&name) else { continue };
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            GIVEN.lock().unwrap().push(given);
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

/// The directory is a valid cache of artifacts that this key signed; what `verify` says of it.
pub fn verified(directory: &Path, key: &str) -> String {
    let (code, out, error) = run(&["verify", text(directory), "--public-key", key]);
    assert_eq!(code, Some(0), "{out}{error}");
    error
}

/// The path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
