//! The body of a file beside an artifact, into a file: without its encoding, and within its bounds while it comes.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use axum::body::Body;
use futures::StreamExt as _;
use granary_fetch::decoded::{self, Chunk, Encoding, Failure};
use http::{HeaderMap, header};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::body::{SILENCE, cut, silent};
use super::quota::Reservation;
use super::refused::{Reason, Refused};

/// Chunks that wait for the disk, at most.
const QUEUE: usize = 4;

/// Writes a body to a new file at `path`: at most `most` bytes, encoded and decoded, as long as the quota takes them. How many
/// there are, and what is reserved for them; or why not, with what has not been read.
pub(super) async fn receive(
    headers: &HeaderMap,
    body: Body,
    most: u64,
    path: &Path,
    reservation: Reservation,
) -> Result<(u64, Reservation), (Refused, Body)> {
    let named = headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("unreadable"));
    let Some(encoding) = Encoding::named(named.unwrap_or_default()) else {
        let named: String = named.unwrap_or_default().chars().take(50).collect();
        let message = format!(
            "Content-Encoding {named:?} is not known here; send it plain, or as xz, br, gzip or zstd"
        );
        return Err((Refused::new(Reason::Body, message), body));
    };
    let (chunks, queue) = mpsc::channel(QUEUE);
    let target = path.to_owned();
    let writer = tokio::task::spawn_blocking(move || {
        let file = File::create_new(target).map_err(Refused::disk)?;
        let mut to = Metered { file, length: 0, reservation, refused: None };
        match (decoded::write(queue, encoding, most, &mut to), to.refused) {
            (Ok(length), _) => Ok((length, to.reservation)),
            (Err(_), Some(refused)) => Err(refused),
            (Err(Failure::Disk(error)), None) => Err(Refused::disk(error)),
            (Err(Failure::TooLong), None) => Err(too_long(most)),
            (Err(Failure::Encoding(error)), None) => {
                Err(Refused::new(Reason::Body, format!("its Content-Encoding is broken: {error}")))
            }
        }
    });
    let (mut stream, mut left) = (body.into_data_stream(), most);
    let received = loop {
        let chunk = match timeout(SILENCE, stream.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(None) => break Ok(()),
            Ok(Some(Err(error))) => break Err(cut(&error)),
            Err(_) => break Err(silent()),
        };
        match left.checked_sub(chunk.len() as u64) {
            Some(rest) => left = rest,
            None => break Err(too_long(most)),
        }
        // The other side has enough, or has failed and says why.
        if chunks.send(Chunk::Bytes(chunk)).await.is_err() {
            break Ok(());
        }
    };
    if received.is_err() {
        // The decoder must not take what came for all of it.
        let _ = chunks.send(Chunk::Broken).await;
    }
    drop(chunks);
    let written = writer.await.map_err(Refused::disk).and_then(|written| written);
    match received.and(written) {
        Ok(written) => Ok(written),
        Err(refused) => Err((refused, Body::from_stream(stream))),
    }
}

fn too_long(most: u64) -> Refused {
    Refused::new(Reason::TooLarge, format!("it has more than {most} bytes"))
}

/// A file that grows as far as the quota lets it.
struct Metered {
    file: File,
    length: u64,
    reservation: Reservation,
    refused: Option<Refused>,
}

impl Write for Metered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.length += bytes.len() as u64;
        if let Err(refused) = self.reservation.grow(self.length) {
            self.refused = Some(refused);
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.file.write_all(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
