//! A cache on disk behind HTTP, which can lie and go away.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

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
    /// Whether a slow NAR file comes without its length.
    unannounced: AtomicBool,
    /// The first bytes of the parts that were asked for.
    parts: Mutex<Vec<usize>>,
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
            unannounced: AtomicBool::new(false),
            parts: Mutex::default(),
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

    /// From now on a NAR file that stops does not say how long it is.
    pub fn unannounced(&self) {
        self.shared.unannounced.store(true, Ordering::Relaxed);
    }

    /// Thinks so long about each request from now on.
    pub fn think(&self, time: Duration) {
        self.shared.thought.store(time.as_millis().try_into().unwrap(), Ordering::Relaxed);
    }

    /// From which bytes on the rest of a NAR file was asked for.
    pub fn parts(&self) -> Vec<usize> {
        self.shared.parts.lock().unwrap().clone()
    }

    /// How many NAR files were asked for.
    pub fn nars(&self) -> usize {
        self.shared.nars.load(Ordering::Relaxed)
    }
}

async fn answer(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap) -> Response {
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
        Ok(bytes) if nar && shared.slow.load(Ordering::Relaxed) => {
            stopping(bytes, !shared.unannounced.load(Ordering::Relaxed))
        }
        Ok(bytes) if nar => match headers.get(header::RANGE).and_then(rest) {
            Some(start) => {
                shared.parts.lock().unwrap().push(start);
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                let body = bytes[start..].to_vec();
                (StatusCode::PARTIAL_CONTENT, [(header::CONTENT_RANGE, range)], body).into_response()
            }
            None => bytes.into_response(),
        },
        Ok(bytes) => bytes.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Where the rest begins that is asked for.
fn rest(range: &HeaderValue) -> Option<usize> {
    range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}

/// The head, the first MiB, and then nothing; the first two of what does not say how long it is.
fn stopping(mut bytes: Vec<u8>, announced: bool) -> Response {
    let length = bytes.len();
    bytes.truncate(if announced { 1 << 20 } else { 2 << 20 });
    let start = futures::stream::iter([Ok::<_, Infallible>(Bytes::from(bytes))]);
    let mut response = Body::from_stream(start.chain(futures::stream::pending())).into_response();
    response.headers_mut().extend(announced.then(|| (header::CONTENT_LENGTH, length.into())));
    response
}
