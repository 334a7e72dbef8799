//! An HTTP server on loopback whose every file can go wrong in its own way.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Response, StatusCode, header};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How a file is answered. A file that is not set is 404.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Whole, with its length; a range when asked for one.
    Bytes(Vec<u8>),
    /// The same without ranges: always from the start.
    WithoutRanges(Vec<u8>),
    /// A status and no file.
    Status(u16),
    /// The same, with this `Retry-After`.
    RetryAfter(u16, String),
    /// The first answers are `first`, one after the other; then `then`.
    Then(Vec<Reply>, Box<Reply>),
    /// The head promises all bytes; the connection breaks after `after` of them. Ranges are answered the same way.
    Cut { bytes: Vec<u8>, after: usize },
    /// The same, and then nothing more comes.
    Hang { bytes: Vec<u8>, after: usize },
    /// Only the first ten bytes, whatever part is asked for.
    OtherPart(Vec<u8>),
    /// All bytes, without saying how many; then the body ends well.
    Unannounced(Vec<u8>),
    /// Bytes for ever.
    Endless,
    /// No answer at all.
    Silent,
    /// The head and these bytes of more; then nothing.
    Stall(Vec<u8>),
    /// All bytes, one at a time with a pause that is no silence.
    Trickle(Vec<u8>),
    /// A redirect.
    Redirect(String),
    /// What follows, to who sends this `Authorization`; 401 to everybody else.
    For(String, Box<Reply>),
    /// These bytes, said to be encoded in this way.
    Encoded(String, Vec<u8>),
    /// These bytes, after a header with so many.
    Header(usize, Vec<u8>),
}

/// A request that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The path without its first slash.
    pub path: String,
    /// The `Range` header.
    pub range: Option<String>,
    /// Whether it was marked as coming from a mirror.
    pub hop: bool,
    /// The `Authorization` header.
    pub authorization: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    replies: Mutex<HashMap<String, Reply>>,
    asked: Mutex<Vec<Asked>>,
    /// How long each request is thought about.
    thought: Mutex<Duration>,
    /// Requests that are thought about now, and at most so far.
    at_once: Mutex<(usize, usize)>,
    /// The same of those for NAR files.
    nars_at_once: Mutex<(usize, usize)>,
}

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Upstream {
    url: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Upstream {
    /// Starts a server that has nothing.
    pub async fn start() -> Self {
        Self::start_at([127, 0, 0, 1].into()).await
    }

    /// The same at another address of this machine.
    pub async fn start_at(address: IpAddr) -> Self {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, server }
    }

    /// Starts a server that has a cache.
    pub async fn of(cache: &super::Cache) -> Self {
        let upstream = Self::start().await;
        cache.serve(&upstream);
        upstream
    }

    /// Its URL, without a final slash.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How `path` is answered from now on.
    pub fn set(&self, path: &str, reply: Reply) {
        self.shared.replies.lock().unwrap().insert(path.to_owned(), reply);
    }

    /// Thinks so long about each request from now on.
    pub fn think(&self, time: Duration) {
        *self.shared.thought.lock().unwrap() = time;
    }

    /// How many requests there were at once, at most.
    pub fn at_once(&self) -> usize {
        self.shared.at_once.lock().unwrap().1
    }

    /// How many requests for NAR files there were at once, at most.
    pub fn nars_at_once(&self) -> usize {
        self.shared.nars_at_once.lock().unwrap().1
    }

    /// The bytes that `path` is answered with now.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        match self.shared.replies.lock().unwrap().get(path) {
            Some(Reply::Bytes(bytes)) => bytes.clone(),
            other => panic!("{path} is {other:?}"),
        }
    }

    /// Everything that was asked for since the last call.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let path = request.uri().path_and_query().unwrap().as_str().trim_start_matches('/').to_owned();
    let headers = request.headers().clone();
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let (range, hop, authorization) = (text("range"), text("granary-hop").is_some(), text("authorization"));
    shared.asked.lock().unwrap().push(Asked { path: path.clone(), range, hop, authorization });
    let nars = path.starts_with("nar/").then_some(&shared.nars_at_once);
    let counts = || [&shared.at_once].into_iter().chain(nars);
    for count in counts() {
        let mut at_once = count.lock().unwrap();
        at_once.0 += 1;
        at_once.1 = at_once.1.max(at_once.0);
    }
    let thought = *shared.thought.lock().unwrap();
    tokio::time::sleep(thought).await;
    counts().for_each(|count| count.lock().unwrap().0 -= 1);
    let reply = next_reply(&mut shared.replies.lock().unwrap(), &path);
    respond(reply, &headers).await
}

/// The reply that is due, with [`Reply::Then`] used up step by step.
fn next_reply(replies: &mut HashMap<String, Reply>, path: &str) -> Reply {
    match replies.get_mut(path) {
        None => Reply::Status(404),
        Some(Reply::Then(first, then)) if first.is_empty() => (**then).clone(),
        Some(Reply::Then(first, _)) => first.remove(0),
        Some(reply) => reply.clone(),
    }
}

async fn respond(reply: Reply, request: &HeaderMap) -> Response<Body> {
    let ok = |body| Response::new(body);
    let reply = match reply {
        Reply::For(who, reply) if request.get(header::AUTHORIZATION).is_some_and(|value| *value == who) => {
            *reply
        }
        Reply::For(..) => Reply::Status(401),
        reply => reply,
    };
    match reply {
        Reply::Bytes(bytes) => ranged(bytes, request, Body::from),
        Reply::Cut { bytes, after } => ranged(bytes, request, |rest| {
            // The pause lets the part reach the client before the connection breaks.
            let end = futures::stream::once(async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(std::io::Error::other("cut"))
            });
            Body::from_stream(start_of(&rest, after).chain(end))
        }),
        Reply::Hang { bytes, after } => ranged(bytes, request, |rest| {
            Body::from_stream(start_of(&rest, after).chain(futures::stream::pending()))
        }),
        Reply::OtherPart(bytes) => {
            let mut response = ok(Body::from(bytes[..10].to_vec()));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let part = format!("bytes 0-9/{}", bytes.len());
            response.headers_mut().insert(header::CONTENT_RANGE, part.parse().unwrap());
            response
        }
        Reply::WithoutRanges(bytes) => ok(Body::from(bytes)),
        Reply::Status(status) => status_only(status),
        Reply::RetryAfter(status, after) => {
            let mut response = status_only(status);
            response.headers_mut().insert(header::RETRY_AFTER, after.parse().unwrap());
            response
        }
        Reply::Unannounced(bytes) => {
            ok(Body::from_stream(futures::stream::iter([Ok::<_, Infallible>(bytes)])))
        }
        Reply::Endless => {
            let chunk = Bytes::from(vec![7; 16 << 10]);
            ok(Body::from_stream(futures::stream::repeat_with(move || Ok::<_, Infallible>(chunk.clone()))))
        }
        Reply::Silent => std::future::pending().await,
        Reply::Stall(bytes) => {
            let start = futures::stream::iter([Ok::<_, Infallible>(Bytes::from(bytes))]);
            ok(Body::from_stream(start.chain(futures::stream::pending())))
        }
        Reply::Trickle(bytes) => ok(Body::from_stream(futures::stream::iter(bytes).then(async |byte| {
            tokio::time::sleep(super::SILENCE / 10).await;
            Ok::<_, Infallible>(Bytes::from(vec![byte]))
        }))),
        Reply::Redirect(to) => {
            let mut response = ok(Body::empty());
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert(header::LOCATION, to.parse().unwrap());
            response
        }
        Reply::Encoded(encoding, bytes) => {
            let mut response = ok(Body::from(bytes));
            response.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
            response
        }
        Reply::Header(length, bytes) => {
            let mut response = ok(Body::from(bytes));
            response.headers_mut().insert("x-long", "x".repeat(length).parse().unwrap());
            response
        }
        Reply::Then(..) | Reply::For(..) => panic!("a reply of several steps is no step"),
    }
}

fn status_only(status: u16) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

/// The first bytes of what is to be sent.
fn start_of(rest: &Bytes, after: usize) -> impl futures::Stream<Item = std::io::Result<Bytes>> + use<> {
    futures::stream::iter([Ok(rest.slice(..after.min(rest.len())))])
}

/// The part that is asked for, which `send` makes a body of.
fn ranged(bytes: Vec<u8>, request: &HeaderMap, send: impl FnOnce(Bytes) -> Body) -> Response<Body> {
    let total = bytes.len();
    let part = request.get(header::RANGE).map(|range| {
        let (start, last) = range.to_str().unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let number = |digits: &str| digits.parse::<usize>().unwrap();
        match (start, last) {
            ("", count) => total - number(count)..total,
            (start, "") => number(start)..total,
            (start, last) => number(start)..total.min(number(last) + 1),
        }
    });
    let rest = Bytes::from(bytes).slice(part.clone().unwrap_or(0..total));
    let length = rest.len();
    let mut response = Response::new(send(rest));
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, "bytes".parse().unwrap());
    headers.insert(header::CONTENT_LENGTH, length.into());
    if let Some(part) = part {
        let range = format!("bytes {}-{}/{total}", part.start, part.end - 1);
        headers.insert(header::CONTENT_RANGE, range.parse().unwrap());
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}
