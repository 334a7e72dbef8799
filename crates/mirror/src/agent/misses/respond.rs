//! Answers, as nginx would give them for a file that is held.

use axum::body::Body;
use granary_fetch::Expected;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

/// The head of an answer.
pub(in crate::agent) struct Parts {
    pub(in crate::agent) status: StatusCode,
    pub(in crate::agent) tag: Option<HeaderValue>,
    pub(in crate::agent) headers: Vec<(HeaderName, HeaderValue)>,
}

/// The tag that nginx gives the same file when it is held: the time of all NAR files, and its size. Without a FileHash,
/// another answer may have other bytes under the same name, and there is none.
pub(in crate::agent) fn tag(expected: &Expected) -> Option<HeaderValue> {
    expected.file_hash?;
    HeaderValue::from_str(&format!("\"1-{:x}\"", expected.file_size?)).ok()
}

/// Whether a client that names what it has a part of means these bytes; else it gets the whole.
pub(in crate::agent) fn is_the_same(headers: &HeaderMap, expected: &Expected) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|given| tag(expected).as_ref() == Some(given))
}

/// The headers of a source that hold for our answer too.
pub(super) fn kept(headers: &HeaderMap, names: &[HeaderName]) -> Vec<(HeaderName, HeaderValue)> {
    names.iter().filter_map(|name| headers.get(name).map(|value| (name.clone(), value.clone()))).collect()
}

/// A NAR file, a part of one, or the word that there is no such part.
pub(in crate::agent) fn response(parts: Parts, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = parts.status;
    let all = response.headers_mut();
    all.extend(parts.headers);
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-nix-nar"));
    all.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    all.extend(parts.tag.map(|tag| (header::ETAG, tag)));
    response
}

pub(in crate::agent) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

pub(in crate::agent) fn unavailable(text: &'static str) -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests {
    use granary_nix::{Compression, Hash};

    use super::*;

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
