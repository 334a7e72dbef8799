//! The answers.

use std::io;

use axum::body::Body;
use granary_nix::ExtraKind;
use http::{HeaderValue, Response, StatusCode, header};
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::content_type;
use super::flights::Served;

/// A file, from wherever it is.
pub(super) async fn file(kind: ExtraKind, served: &Served) -> io::Result<Response<Body>> {
    let (length, body) = match served {
        Served::Text(text) => (text.len() as u64, Body::from(text.clone())),
        Served::Tree(path) => open(path).await?,
        // Once it is open its name is not needed.
        Served::Temp(file) => open(file.path()).await?,
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(kind)));
    headers.insert(header::CONTENT_LENGTH, length.into());
    Ok(response)
}

async fn open(path: &std::path::Path) -> io::Result<(u64, Body)> {
    let file = File::open(path).await?;
    Ok((file.metadata().await?.len(), Body::from_stream(ReaderStream::new(file))))
}

/// Every upstream says so.
pub(super) fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "no such file\n")
}

/// Nobody knows.
pub(super) fn unavailable() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "not all upstreams answer now; try again\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}
