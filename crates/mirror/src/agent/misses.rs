//! NAR files that clients ask for here and that are held elsewhere: passed on from another mirror or an upstream, and
//! checked on the way.
//!
//! nginx asks for what is not in the tree. The catalog says which artifact the file belongs to and what its bytes are;
//! the map says which mirrors hold it. Where the catalog has no FileHash, because the upstream states none, the file is
//! asked for here by its NarHash; the narinfo of a mirror that holds it says what the file is.
//!
//! * [`sources`]: who is asked, and where.
//! * [`asking`]: what they are asked for; [`unwell`] and [`benched`]: who is asked last, and what is not asked for again.
//! * [`open`]: the first answer; [`relay`]: its body, which goes on at another place when the first breaks off.
//! * [`due`]: what of a file is still to come; [`respond`]: what the client is told.

mod asking;
mod benched;
mod due;
mod open;
mod relay;
mod respond;
mod sources;
mod unwell;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures::StreamExt as _;
use granary_fetch::Expected;
use granary_nix::RangeRequest;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::{Metrics, MissResult};
use crate::tree::CatalogEntry;
use asking::{Asking, Wanted};
use open::{Opened, open};
use respond::response;
use sources::Failure;

pub(super) use respond::{Parts, is_the_same, plain, response as nar_response, tag, unavailable};
pub use sources::Sources;

/// Marks a request between mirrors, which is answered from the tree or not at all. So no request goes in circles.
pub const HOP: HeaderName = HeaderName::from_static("granary-hop");

/// Requests that are passed on at once; one costs a connection and a chunk or two of memory.
const AT_ONCE: usize = 64;
/// A file up to this size is checked before its first byte is passed on, so that a source that lies or breaks off costs
/// the client nothing.
const CHECKED_FIRST: u64 = 1 << 20;
/// Memory that a larger one takes, in KiB: what is on its way, and the connection's own buffers. The connection to a source
/// that broke off is gone before the next one is asked.
const PASSED_ON: u32 = 512;
/// Memory for all of them, in KiB: with more, some wait.
const ROOM: u32 = 12 << 10;
/// How long a request waits for that.
const WAIT: Duration = Duration::from_secs(10);

/// Answers misses.
#[derive(Debug)]
pub struct Misses {
    asking: Arc<Asking>,
    slots: Arc<Semaphore>,
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Misses {
    /// With the places to ask.
    #[must_use]
    pub fn new(sources: Sources, metrics: Arc<Metrics>) -> Self {
        let (slots, room) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(ROOM as usize)));
        Self { asking: Arc::new(Asking::new(sources)), slots, room, metrics }
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
            let (tag, headers) = (tag(&known.expected), vec![(header::CONTENT_LENGTH, size.into())]);
            return response(Parts { status: StatusCode::OK, tag, headers }, Body::empty());
        }
        let Some(permit) = self.admit(&known.expected).await else {
            self.metrics.miss(MissResult::Busy);
            return unavailable("too many NAR files are being passed on; try again\n");
        };
        let resumed = method == Method::GET && is_the_same(headers, &known.expected);
        let range = headers.get(header::RANGE).filter(|range| resumed && is_one(range)).cloned();
        let wanted = Wanted { file: file.to_owned(), known, range };
        let mut missing = true;
        let mut places = self.asking.places(&known).into_iter();
        while let Some(place) = places.next() {
            match open(&self.asking, &self.metrics, &wanted, &place, places.as_slice()).await {
                Ok(Opened { parts, body }) => {
                    self.asking.answered(&place);
                    self.metrics.miss(if place.is_mirror() {
                        MissResult::Mirror
                    } else {
                        MissResult::Upstream
                    });
                    let body =
                        if method == Method::HEAD { Body::empty() } else { self.counted(body, permit) };
                    return response(parts, body);
                }
                Err(failure) => {
                    missing &= matches!(failure, Failure::NotFound);
                    self.asking.refused(&place, file, &failure);
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

    /// Counts bytes and cuts, and keeps the slot until the body has ended.
    fn counted(
        &self,
        body: futures::stream::BoxStream<'static, Result<bytes::Bytes, super::checked::Cut>>,
        permit: [OwnedSemaphorePermit; 2],
    ) -> Body {
        let metrics = Arc::clone(&self.metrics);
        Body::from_stream(body.inspect(move |chunk| {
            let _held = &permit;
            match chunk {
                Ok(chunk) => metrics.miss_bytes(chunk.len()),
                Err(_) => metrics.miss(MissResult::Cut),
            }
        }))
    }
}

/// Whether a client asks for one part. Who asks for several gets the whole: no Nix does, and an answer of several parts is
/// none that another place could go on with.
fn is_one(range: &HeaderValue) -> bool {
    range.to_str().is_ok_and(|range| RangeRequest::parse(range, u64::MAX) != RangeRequest::Whole)
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
    fn several_parts_at_once_are_the_whole() {
        for (range, one) in [
            ("bytes=10-", true),
            ("bytes=10-19", true),
            ("bytes=-5", true),
            ("bytes=0-9,20-29", false),
            ("lines=1-2", false),
            ("x", false),
        ] {
            assert_eq!(is_one(&HeaderValue::from_static(range)), one, "{range}");
        }
    }
}
