//! Request bodies, bounded.

use std::io::Read as _;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use futures::StreamExt as _;
use granary_fetch::decode::decoder;
use granary_nix::Compression;
use granary_nix::narinfo::MAX_TEXT;
use http::{HeaderMap, header};

use super::refused::{Reason, Refused};

/// How long a client may send nothing.
pub(super) const SILENCE: Duration = Duration::from_mins(1);

/// The length that a NAR file is said to have; `None` when it is sent in chunks.
pub(super) fn announced(headers: &HeaderMap) -> Result<Option<u64>, Refused> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let message = "a NAR file is taken as it is, without a Content-Encoding";
        return Err(Refused::new(Reason::Body, message));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    Ok(length.and_then(|length| length.parse().ok()))
}

/// The text of a narinfo or of an entry of the debug index, without the encoding that it was sent in.
pub(super) async fn small(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refused> {
    let encoding = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    let sent = tokio::time::timeout(SILENCE, to_bytes(body, MAX_TEXT))
        .await
        .map_err(|_| Refused::new(Reason::Body, "the body did not come"))?
        .map_err(|error| {
            Refused::new(Reason::TooLarge, format!("not a text of at most {MAX_TEXT} bytes: {error}"))
        })?;
    plain(encoding, &sent)
}

fn plain(encoding: Option<&str>, sent: &[u8]) -> Result<Vec<u8>, Refused> {
    let compression = match encoding.map(str::trim) {
        None | Some("" | "identity") => Compression::None,
        Some("gzip" | "x-gzip") => Compression::Gzip,
        Some("br") => Compression::Brotli,
        Some("zstd") => Compression::Zstd,
        Some("xz") => Compression::Xz,
        Some("bzip2") => Compression::Bzip2,
        Some(other) => {
            let other: String = other.chars().take(50).collect();
            let message = format!(
                "Content-Encoding {other:?} is not known here; send it plain, or as xz, br, gzip or zstd"
            );
            return Err(Refused::new(Reason::Body, message));
        }
    };
    let mut text = Vec::new();
    let read =
        decoder(compression, sent).and_then(|reader| reader.take(MAX_TEXT as u64 + 1).read_to_end(&mut text));
    read.map_err(|error| {
        Refused::new(
            Reason::Body,
            format!("the body is not {compression} as its Content-Encoding says: {error}"),
        )
    })?;
    if text.len() > MAX_TEXT {
        return Err(Refused::new(Reason::TooLarge, format!("the text has more than {MAX_TEXT} bytes")));
    }
    Ok(text)
}

/// Reads a body that is not needed to its end.
pub(super) async fn discard(body: Body) -> Result<u64, Refused> {
    let (mut stream, mut length) = (body.into_data_stream(), 0);
    loop {
        match tokio::time::timeout(SILENCE, stream.next()).await {
            Ok(Some(Ok(chunk))) => length += chunk.len() as u64,
            Ok(None) => return Ok(length),
            Ok(Some(Err(error))) => return Err(cut(&error)),
            Err(_) => return Err(silent()),
        }
    }
}

pub(super) fn cut(error: &axum::Error) -> Refused {
    Refused::new(Reason::Body, format!("the upload was cut: {error}"))
}

pub(super) fn silent() -> Refused {
    Refused::new(Reason::Body, format!("nothing came for {} s", SILENCE.as_secs()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_text_is_read_in_every_encoding_that_nix_sends() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(b"StorePath").unwrap();
        let gzip = gzip.finish().unwrap();
        let mut xz = Vec::new();
        liblzma::read::XzEncoder::new(&b"StorePath"[..], 6).read_to_end(&mut xz).unwrap();
        for (encoding, sent) in [
            (None, &b"StorePath"[..]),
            (Some("identity"), b"StorePath"),
            (Some("gzip"), &gzip),
            (Some("xz"), &xz),
        ] {
            assert_eq!(plain(encoding, sent).unwrap(), b"StorePath", "{encoding:?}");
        }
        assert_eq!(plain(Some("rot13"), b"x").unwrap_err().reason(), Reason::Body);
        assert_eq!(plain(Some("xz"), &gzip).unwrap_err().reason(), Reason::Body);
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![b'x'; MAX_TEXT + 1]).unwrap();
        let bomb = bomb.finish().unwrap();
        assert!(bomb.len() < 10_000);
        assert_eq!(plain(Some("gzip"), &bomb).unwrap_err().reason(), Reason::TooLarge);
    }
}
