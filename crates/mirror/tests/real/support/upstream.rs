//! A cache on disk behind HTTP, which can lie and go away.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{StatusCode, Uri, header};

/// A server that ends with the test's runtime.
pub struct Upstream {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    down: AtomicBool,
    nars: AtomicUsize,
    slow: AtomicBool,
    /// How long each request is thought about, in milliseconds.
    thought: AtomicU64,
}

impl Upstream {
    pub async fn serve(directory: &Path) -> Self {
        Self::serve_at(directory, 0).await
    }

    /// At a port that is known before; 0 for any.
    pub async fn serve_at(directory: &Path, port: u16) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            directory: directory.into(),
            down: AtomicBool::new(false),
            nars: AtomicUsize::new(0),
            slow: AtomicBool::new(false),
            thought: AtomicU64::new(0),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    /// From now on every request is answered 503, or not any more.
    pub fn down(&self, down: bool) {
        self.shared.down.store(down, Ordering::Relaxed);
    }

    /// From now on a NAR file stops after its first MiB, or not any more.
    pub fn slow(&self, slow: bool) {
        self.shared.slow.store(slow, Ordering::Relaxed);
    }

    /// Thinks so long about each request from now on.
    pub fn think(&self, time: Duration) {
        self.shared.thought.store(time.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    /// How many NAR files were asked for.
    pub fn nars(&self) -> usize {
        self.shared.nars.load(Ordering::Relaxed)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    if shared.down.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    tokio::time::sleep(Duration::from_millis(shared.thought.load(Ordering::Relaxed))).await;
    let nar = uri.path().starts_with("/nar/");
    if nar {
        shared.nars.fetch_add(1, Ordering::Relaxed);
    }
    // A file's name may have a percent sign in it.
    let name = uri.path().trim_start_matches('/').replace("%25", "%");
    match std::fs::read(shared.directory.join(name)) {
        Ok(bytes) if nar && shared.slow.load(Ordering::Relaxed) => stopping(bytes),
        Ok(bytes) => bytes.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The head, the first MiB, and then nothing.
fn stopping(mut bytes: Vec<u8>) -> Response {
    let length = bytes.len();
    bytes.truncate(1 << 20);
    let start = futures::stream::iter([Ok::<_, Infallible>(Bytes::from(bytes))]);
    let mut response = Body::from_stream(start.chain(futures::stream::pending())).into_response();
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}
