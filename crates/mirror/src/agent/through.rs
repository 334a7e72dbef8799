//! What nginx asks for because it is neither in the tree nor in the catalog, when pull-through is on.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::get;
use futures::StreamExt as _;
use granary_nix::{HashPart, RangeRequest, served_nar_name};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::misses::{HOP, plain, unavailable};
use super::server::Shared;
use crate::through::{Answer, Begun, Reader, Through};
use crate::tree::CatalogEntry;

/// The agent's own paths; nginx asks there.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new().route("/granary/v1/narinfo/{hash}", get(narinfo))
}

async fn narinfo(
    State(shared): State<Arc<Shared>>,
    Path(hash): Path<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let (Some(through), Ok(hash)) = (&shared.through, hash.parse::<HashPart>()) else {
        return plain(StatusCode::NOT_FOUND, "no such narinfo\n");
    };
    // Another mirror asks the upstreams itself.
    if headers.contains_key(HOP) && !through.knows(&hash) {
        return plain(StatusCode::NOT_FOUND, "no such narinfo here\n");
    }
    match through.narinfo(&hash).await {
        Answer::Found(info) => {
            let mut response = Response::new(Body::from(info.to_text()));
            let content_type = HeaderValue::from_static("text/x-nix-narinfo");
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            response
        }
        Answer::Absent => plain(StatusCode::NOT_FOUND, "no upstream has this narinfo\n"),
        Answer::Unknown(_) => unavailable("not all upstreams answer now; try again\n"),
    }
}

/// A NAR file by a flight; `None` when it cannot be kept, and is to be passed on otherwise.
pub(super) async fn nar(
    through: &Through,
    file: &str,
    known: CatalogEntry,
    headers: &HeaderMap,
) -> Option<Response<Body>> {
    let mut reader = through.open(file, known)?;
    Some(match reader.begin().await {
        Begun::Missing => plain(StatusCode::NOT_FOUND, "no upstream has this NAR file\n"),
        Begun::Failed => unavailable("no upstream gives this NAR file now; try again\n"),
        Begun::File { size, file_hash } => {
            let name = file_hash.map(|hash| served_nar_name(hash, known.expected.compression));
            let tag = name.map(|name| format!("\"{}\"", name.trim_start_matches("nar/")));
            file_response(reader, size, tag.as_deref(), headers)
        }
    })
}

fn file_response(
    reader: Reader,
    size: Option<u64>,
    tag: Option<&str>,
    request: &HeaderMap,
) -> Response<Body> {
    let text = |name| request.get(name).and_then(|value| value.to_str().ok());
    // A range of another file than the client thinks would be wrong.
    let same = text(header::IF_RANGE).is_none_or(|wanted| Some(wanted) == tag);
    let range = match (text(header::RANGE).filter(|_| same), size) {
        (Some(range), Some(size)) => RangeRequest::parse(range, size),
        _ => RangeRequest::Whole,
    };
    let (status, length, part) = match &range {
        RangeRequest::Whole => (StatusCode::OK, size, None),
        RangeRequest::Part(part) => {
            (StatusCode::PARTIAL_CONTENT, Some(part.end - part.start), Some(part.clone()))
        }
        RangeRequest::Unsatisfiable => (StatusCode::RANGE_NOT_SATISFIABLE, Some(0), Some(0..0)),
    };
    let body = reader.body(part).inspect(|chunk| {
        if let Err(broken) = chunk {
            tracing::warn!(%broken, "a NAR file passed on is cut");
        }
    });
    let mut response = Response::new(Body::from_stream(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-nix-nar"));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.extend(length.map(|length| (header::CONTENT_LENGTH, length.into())));
    let text = |text: &str| HeaderValue::from_str(text).ok();
    headers.extend(tag.and_then(text).map(|tag| (header::ETAG, tag)));
    let content_range = size.and_then(|size| range.content_range(size));
    headers.extend(content_range.and_then(|range| text(&range)).map(|range| (header::CONTENT_RANGE, range)));
    response
}
