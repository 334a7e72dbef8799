//! NAR files that clients ask for here and that are held elsewhere: passed on from another mirror or an upstream, and
//! checked on the way.
//!
//! nginx asks for what is not in the tree. The catalog says which artifact the file belongs to and what its bytes are;
//! the map says which mirrors hold it. Where the catalog has no FileHash, because the upstream states none, the file is
//! asked for here by its NarHash; the narinfo of a mirror that holds it says what the file is.

mod sources;
mod unwell;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use granary_fetch::Expected;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

use super::checked::{self, Cut};
use crate::metrics::{Metrics, MissResult};
use crate::tree::CatalogEntry;
use sources::{Failure, Located, Place};
use unwell::Unwell;

pub use sources::Sources;

/// Marks a request between mirrors, which is answered from the tree or not at all. So no request goes in circles.
pub const HOP: HeaderName = HeaderName::from_static("granary-hop");

/// Requests that are passed on at once; one costs a connection and a chunk or two of memory.
const AT_ONCE: usize = 64;
/// A file up to this size is checked before its first byte is passed on, so that a source that lies or breaks off costs
/// the client nothing.
const CHECKED_FIRST: u64 = 1 << 20;
/// Memory that a larger one takes, in KiB: what is on its way, and the connection's own buffers.
const PASSED_ON: u32 = 512;
/// Memory for all of them, in KiB: with more, some wait.
const ROOM: u32 = 12 << 10;
/// How long a request waits for that.
const WAIT: Duration = Duration::from_secs(10);
/// Lies that are remembered.
const MAX_BENCHED: usize = 1024;

/// Answers misses.
#[derive(Debug)]
pub struct Misses {
    sources: Sources,
    slots: Arc<Semaphore>,
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    /// URLs whose bytes were wrong. Forgotten at a restart, and when there are too many.
    benched: Arc<Mutex<HashSet<String>>>,
    unwell: Unwell,
}

impl Misses {
    /// With the places to ask.
    #[must_use]
    pub fn new(sources: Sources, metrics: Arc<Metrics>) -> Self {
        let (slots, room) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(ROOM as usize)));
        Self { sources, slots, room, metrics, benched: Arc::default(), unwell: Unwell::default() }
    }

    /// Answers a GET or HEAD for `nar/<file>`.
    pub async fn answer(
        &self,
        method: &Method,
        headers: &HeaderMap,
        file: &str,
        known: Option<CatalogEntry>,
    ) -> Response<Body> {
        // Whoever asks with the mark asks the others itself.
        let Some(known) = known.filter(|_| !headers.contains_key(HOP)) else {
            self.metrics.miss(MissResult::NotFound);
            return plain(StatusCode::NOT_FOUND, "no such NAR file\n");
        };
        if method == Method::HEAD
            && let Some(size) = known.expected.file_size
        {
            return response(
                StatusCode::OK,
                tag(&known.expected),
                &[(header::CONTENT_LENGTH, size.into())],
                Body::empty(),
            );
        }
        let Some(permit) = self.admit(&known.expected).await else {
            self.metrics.miss(MissResult::Busy);
            return unavailable("too many NAR files are being passed on; try again\n");
        };
        let resumed = method == Method::GET && is_the_same(headers, &known.expected);
        let range = headers.get(header::RANGE).filter(|_| resumed);
        let mut missing = true;
        for source in self.unwell.last(self.sources.of(known.hash_part), Instant::now()) {
            match self.try_source(&source, file, known, range).await {
                Ok(Opened { parts, body }) => {
                    self.unwell.answered(&source.to_string());
                    self.metrics.miss(if source.is_mirror() {
                        MissResult::Mirror
                    } else {
                        MissResult::Upstream
                    });
                    let body =
                        if method == Method::HEAD { Body::empty() } else { self.counted(body, permit) };
                    return response(parts.status, parts.tag, &parts.headers, body);
                }
                Err(failure) => {
                    if failure.is_silence() {
                        self.unwell.failed(&source.to_string(), Instant::now());
                    }
                    missing &= matches!(failure, Failure::NotFound);
                    info!(source = %source, file, %failure, "a source does not give a NAR file; asking the next");
                }
            }
        }
        if missing {
            self.metrics.miss(MissResult::NotFound);
            return plain(StatusCode::NOT_FOUND, "no source has this NAR file\n");
        }
        self.metrics.miss(MissResult::Failed);
        unavailable("no source gives this NAR file now; try again\n")
    }

    /// A slot, and room in memory.
    async fn admit(&self, expected: &Expected) -> Option<[OwnedSemaphorePermit; 2]> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let room = Arc::clone(&self.room).acquire_many_owned(kibibytes(expected));
        let room = tokio::time::timeout(WAIT, room).await.ok()?.ok()?;
        Some([slot, room])
    }

    async fn try_source(
        &self,
        source: &Place,
        file: &str,
        known: CatalogEntry,
        range: Option<&HeaderValue>,
    ) -> Result<Opened, Failure> {
        let Located { url, expected } = self.sources.locate(source, &known).await?;
        if self.benched().contains(url.as_str()) {
            return Err(Failure::Benched);
        }
        let answer = self.sources.get(source, url.clone(), range).await?;
        let (status, tag) = (answer.status(), tag(&expected));
        if status == StatusCode::RANGE_NOT_SATISFIABLE {
            let headers = kept(answer.headers(), &[header::CONTENT_RANGE]);
            return Ok(Opened {
                parts: Parts { status, tag, headers },
                body: futures::stream::empty().boxed(),
            });
        }
        let total = sources::total_size(&answer);
        if let (Some(expected), Some(actual)) = (expected.file_size, total)
            && expected != actual
        {
            return Err(Failure::Size { expected, actual });
        }
        let headers = kept(answer.headers(), &[header::CONTENT_LENGTH, header::CONTENT_RANGE]);
        let parts = Parts { status, tag, headers };
        if status == StatusCode::PARTIAL_CONTENT {
            // A part proves nothing. The client's own check of the whole NAR decides.
            return Ok(Opened {
                parts,
                body: sources::body(answer).map(|chunk| chunk.map_err(Cut::from)).boxed(),
            });
        }
        let (size, most) = (expected.file_size.or(total), expected.most_bytes());
        let whole = checked::Expected { hash: expected.file_hash, size, most };
        let body = checked::whole(sources::body(answer), whole);
        let mut body = self.watched(body, url.to_string(), file.to_owned()).boxed();
        if size.unwrap_or(most) <= CHECKED_FIRST {
            let mut chunks = Vec::new();
            while let Some(chunk) = body.next().await {
                chunks.push(chunk.map_err(Failure::Cut)?);
            }
            if expected.file_hash.is_none() {
                checked::nar(expected, chunks.concat()).await.map_err(|fault| {
                    bench(&self.benched, url.as_str());
                    Failure::Nar(fault)
                })?;
            }
            body = futures::stream::iter(chunks.into_iter().map(Ok)).boxed();
        }
        Ok(Opened { parts, body })
    }

    /// Tells of a cut, and remembers a source whose bytes were wrong.
    fn watched<B: Stream<Item = Result<Bytes, Cut>>>(
        &self,
        body: B,
        url: String,
        file: String,
    ) -> impl Stream<Item = Result<Bytes, Cut>> + use<B> {
        let benched = Arc::clone(&self.benched);
        body.inspect(move |chunk| {
            let Err(cut) = chunk else { return };
            warn!(url, file, reason = %cut, "a NAR file passed on is cut");
            if matches!(cut, Cut::Hash { .. } | Cut::Size { .. }) {
                bench(&benched, &url);
            }
        })
    }

    /// Counts bytes and cuts, and keeps the slot until the body has ended.
    fn counted(&self, body: Opening, permit: [OwnedSemaphorePermit; 2]) -> Body {
        let metrics = Arc::clone(&self.metrics);
        Body::from_stream(body.inspect(move |chunk| {
            let _held = &permit;
            match chunk {
                Ok(chunk) => metrics.miss_bytes(chunk.len()),
                Err(_) => metrics.miss(MissResult::Cut),
            }
        }))
    }

    fn benched(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.benched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a file takes in memory, in KiB.
fn kibibytes(expected: &Expected) -> u32 {
    let most = match expected.file_size {
        Some(size) if size > CHECKED_FIRST => return PASSED_ON,
        Some(size) => size,
        // A source may say that it is small.
        None => expected.most_bytes().min(CHECKED_FIRST),
    };
    u32::try_from(most.div_ceil(1 << 10)).unwrap_or(ROOM)
}

/// Remembers a URL whose bytes were wrong.
fn bench(benched: &Mutex<HashSet<String>>, url: &str) {
    let mut benched = benched.lock().unwrap_or_else(PoisonError::into_inner);
    if benched.len() >= MAX_BENCHED {
        benched.clear();
    }
    benched.insert(url.to_owned());
}

/// The tag that nginx gives the same file when it is held: the time of all NAR files, and its size. Without a FileHash,
/// another answer may have other bytes under the same name, and there is none.
fn tag(expected: &Expected) -> Option<HeaderValue> {
    expected.file_hash?;
    HeaderValue::from_str(&format!("\"1-{:x}\"", expected.file_size?)).ok()
}

/// Whether a client that names what it has a part of means these bytes; else it gets the whole.
fn is_the_same(headers: &HeaderMap, expected: &Expected) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|given| tag(expected).as_ref() == Some(given))
}

type Opening = futures::stream::BoxStream<'static, Result<Bytes, Cut>>;

struct Opened {
    parts: Parts,
    body: Opening,
}

struct Parts {
    status: StatusCode,
    tag: Option<HeaderValue>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The headers of a source that hold for our answer too.
fn kept(headers: &HeaderMap, names: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    names.iter().filter_map(|name| headers.get(name).map(|value| (name.clone(), value.clone()))).collect()
}

fn response(
    status: StatusCode,
    tag: Option<HeaderValue>,
    headers: &[(HeaderName, HeaderValue)],
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let all = response.headers_mut();
    all.extend(headers.iter().cloned());
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-nix-nar"));
    all.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    all.extend(tag.map(|tag| (header::ETAG, tag)));
    response
}

pub(super) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

pub(super) fn unavailable(text: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use granary_nix::{Compression, Hash};

    use super::*;

    #[test]
    fn small_files_are_in_memory_and_large_ones_are_not() {
        let expected = |file_size, nar_size| Expected {
            compression: Compression::Xz,
            file_hash: None,
            file_size,
            nar_hash: Hash::of(b"nar"),
            nar_size,
            content: None,
        };
        for (file_size, nar_size, wanted) in [
            (Some(0), 9, 0),
            (Some(1), 9, 1),
            (Some(CHECKED_FIRST), 9 << 20, 1024),
            (Some(CHECKED_FIRST + 1), 9 << 20, PASSED_ON),
            (Some(9 << 30), 9 << 40, PASSED_ON),
            (None, 9 << 30, 1024),
            (None, 100 << 10, 171),
        ] {
            assert_eq!(kibibytes(&expected(file_size, nar_size)), wanted, "{file_size:?}");
        }
    }

    #[test]
    fn a_part_goes_only_to_whom_has_the_rest_of_these_bytes() {
        let hash = Hash::of(b"");
        let mut expected = Expected {
            compression: Compression::Xz,
            file_hash: Some(hash),
            file_size: Some(100_000),
            nar_hash: hash,
            nar_size: 1,
            content: None,
        };
        let mut headers = HeaderMap::new();
        assert!(is_the_same(&headers, &expected), "nobody asks");
        for (given, same) in [("\"1-186a0\"", true), ("\"1-186a1\"", false), ("W/\"1-186a0\"", false)] {
            headers.insert(header::IF_RANGE, HeaderValue::from_static(given));
            assert_eq!(is_the_same(&headers, &expected), same, "{given}");
        }
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"1-186a0\""));
        expected.file_hash = None;
        assert!(!is_the_same(&headers, &expected), "others may have other bytes under this name");
    }
}
