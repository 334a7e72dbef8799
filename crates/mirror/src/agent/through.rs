//! What nginx asks for because it is neither in the tree nor in the catalog, when pull-through is on.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::get;
use futures::StreamExt as _;
use granary_fetch::Expected;
use granary_nix::{HashPart, RangeRequest};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::misses::{HOP, Parts, is_the_same, nar_response, plain, tag, unavailable};
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
            let file = Expected { file_size: size, file_hash, ..known.expected };
            file_response(reader, &file, headers)
        }
    })
}

fn file_response(reader: Reader, file: &Expected, request: &HeaderMap) -> Response<Body> {
    let size = file.file_size;
    let range = request.get(header::RANGE).and_then(|value| value.to_str().ok());
    // A range of another file than the client thinks would be wrong.
    let range = match (range.filter(|_| is_the_same(request, file)), size) {
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
    let content_range = size.and_then(|size| range.content_range(size));
    let content_range = content_range.and_then(|range| HeaderValue::from_str(&range).ok());
    let headers = [
        length.map(|length| (header::CONTENT_LENGTH, length.into())),
        content_range.map(|range| (header::CONTENT_RANGE, range)),
    ];
    let headers = headers.into_iter().flatten().collect();
    let mut response = nar_response(Parts { status, tag: tag(file), headers }, Body::from_stream(body));
    if size.is_none() {
        // No part can be named, and a client that asked for one would get the whole.
        response.headers_mut().remove(header::ACCEPT_RANGES);
    }
    response
}
