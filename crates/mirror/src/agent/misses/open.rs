//! The first answer for a file: whether it can be the file, and its body.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use granary_fetch::{Answer, Expected};
use http::{StatusCode, header};
use tracing::warn;
use url::Url;

use super::CHECKED_FIRST;
use super::asking::{Asking, Wanted};
use super::due::{Due, Head};
use super::relay::{Giver, Mixed, Relay};
use super::respond::{Parts, kept, tag};
use super::sources::{self, Failure, Located, Place};
use crate::agent::checked::{self, Cut};
use crate::metrics::Metrics;

/// An answer that is passed on.
pub(super) struct Opened {
    pub(super) parts: Parts,
    pub(super) body: BoxStream<'static, Result<Bytes, Cut>>,
}

/// Asks `place`, and passes its answer on; `others` are asked for the rest when it breaks off.
pub(super) async fn open(
    asking: &Arc<Asking>,
    metrics: &Arc<Metrics>,
    wanted: &Wanted,
    place: &Place,
    others: &[Place],
) -> Result<Opened, Failure> {
    let (Located { url, expected }, answer) = asking.start(place, wanted).await?;
    let (head, tag) = (Head::of(&answer), tag(&expected));
    let status = head.status;
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        let headers = kept(answer.headers(), &[header::CONTENT_RANGE]);
        let body = futures::stream::empty().boxed();
        return Ok(Opened { parts: Parts { status, tag, headers }, body });
    }
    if let (Some(expected), Some(actual)) = (expected.file_size, head.total())
        && expected != actual
    {
        return Err(Failure::Size { expected, actual });
    }
    let size = expected.file_size.or(head.total());
    let headers = kept(answer.headers(), &[header::CONTENT_LENGTH, header::CONTENT_RANGE]);
    let parts = Parts { status, tag, headers };
    let whole = status != StatusCode::PARTIAL_CONTENT;
    if whole && size.unwrap_or(expected.most_bytes()) <= CHECKED_FIRST {
        // Nothing has been passed on when it breaks off, and the next place gives all of it.
        let body = small(asking, wanted, answer, &url, expected, size).await?;
        return Ok(Opened { parts, body });
    }
    let due = if whole { size.map(Due::whole) } else { Due::part(&head, size)? };
    let giver = Giver { place: place.clone(), url: url.clone(), answer, skip: 0, gave: false };
    let (asked, metrics, others) = (Arc::clone(asking), Arc::clone(metrics), others.to_vec());
    let relay = Relay::new(asked, metrics, wanted.clone(), giver, due, expected.file_hash, others);
    let mixed = relay.mixed();
    let body = if whole {
        checked::whole(relay.body(), to_be(&expected, size)).boxed()
    } else {
        // A part proves nothing. The client's own check of the whole NAR decides.
        relay.body()
    };
    Ok(Opened { parts, body: watched(asking, wanted, body, url, mixed).boxed() })
}

/// All of a small file, checked.
async fn small(
    asking: &Arc<Asking>,
    wanted: &Wanted,
    answer: Answer,
    url: &Url,
    expected: Expected,
    size: Option<u64>,
) -> Result<BoxStream<'static, Result<Bytes, Cut>>, Failure> {
    let body = checked::whole(sources::body(answer), to_be(&expected, size));
    let mut body = watched(asking, wanted, body, url.clone(), Mixed::default()).boxed();
    let mut chunks = Vec::new();
    while let Some(chunk) = body.next().await {
        chunks.push(chunk.map_err(Failure::Cut)?);
    }
    if expected.file_hash.is_none() {
        checked::nar(expected, chunks.concat()).await.map_err(|fault| {
            asking.benched.add(url.as_str());
            Failure::Nar(fault)
        })?;
    }
    Ok(futures::stream::iter(chunks.into_iter().map(Ok)).boxed())
}

fn to_be(expected: &Expected, size: Option<u64>) -> checked::Expected {
    checked::Expected { hash: expected.file_hash, size, most: expected.most_bytes() }
}

/// Tells of a cut, and remembers a source whose bytes were wrong. When they came from several it is not known whose were; the
/// one that broke off is asked last for a while, so that who asks next gets a file from one place only.
fn watched<B: Stream<Item = Result<Bytes, Cut>>>(
    asking: &Arc<Asking>,
    wanted: &Wanted,
    body: B,
    url: Url,
    mixed: Mixed,
) -> impl Stream<Item = Result<Bytes, Cut>> + use<B> {
    let (asking, file) = (Arc::clone(asking), wanted.file.clone());
    body.inspect(move |chunk| {
        let Err(cut) = chunk else { return };
        warn!(%url, file, reason = %cut, "a NAR file passed on is cut");
        if matches!(cut, Cut::Hash { .. } | Cut::Size { .. }) && !mixed.is() {
            asking.benched.add(url.as_str());
        }
    })
}
