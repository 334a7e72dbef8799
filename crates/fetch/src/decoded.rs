//! A body without its `Content-Encoding`, decoded while it comes: it is never in memory as a whole, and no small body becomes
//! more than its bound.

use std::io::{self, BufRead, Read, Write};

use bytes::{Buf as _, Bytes};
use granary_nix::Compression;
use tokio::sync::mpsc;

use crate::decode::decoder;

/// Bytes that are decoded at once.
const BLOCK: usize = 64 << 10;

/// A piece of a body.
#[derive(Debug)]
pub enum Chunk {
    /// The next bytes.
    Bytes(Bytes),
    /// The rest does not come.
    Broken,
}

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As a NAR file can be.
    Compressed(Compression),
    /// `deflate`: zlib.
    Zlib,
}

impl Encoding {
    /// The encoding of this name in HTTP, or in the caches that name others too.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let compression = match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Compression::None,
            "gzip" | "x-gzip" => Compression::Gzip,
            "br" => Compression::Brotli,
            "zstd" => Compression::Zstd,
            "xz" => Compression::Xz,
            "bzip2" => Compression::Bzip2,
            "deflate" => return Some(Self::Zlib),
            _ => return None,
        };
        Some(Self::Compressed(compression))
    }

    fn decoder<'r>(self, body: impl BufRead + 'r) -> io::Result<Box<dyn Read + 'r>> {
        match self {
            Self::Compressed(compression) => decoder(compression, body),
            Self::Zlib => Ok(Box::new(flate2::bufread::ZlibDecoder::new(body))),
        }
    }
}

/// Why there is no whole file.
#[derive(Debug)]
pub enum Failure {
    /// What it is written to does not take it.
    Disk(io::Error),
    /// It is not encoded as it says, or breaks off.
    Encoding(io::Error),
    /// It has more bytes than it may.
    TooLong,
}

/// Writes a body to `to`, decoded; at most `most` bytes of it. How many there were. Blocks until the last chunk has come:
/// the queue's end, without a [`Chunk::Broken`] before it, is the end of the body.
pub fn write(
    queue: mpsc::Receiver<Chunk>,
    encoding: Encoding,
    most: u64,
    to: &mut impl Write,
) -> Result<u64, Failure> {
    let mut body = encoding.decoder(Body { queue, rest: Bytes::new() }).map_err(Failure::Encoding)?;
    let (mut block, mut left) = (vec![0; BLOCK], most);
    loop {
        match body.read(&mut block) {
            Ok(0) => return Ok(most - left),
            Ok(length) => {
                left = left.checked_sub(length as u64).ok_or(Failure::TooLong)?;
                to.write_all(&block[..length]).map_err(Failure::Disk)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Failure::Encoding(error)),
        }
    }
}

/// The chunks, one after the other.
struct Body {
    queue: mpsc::Receiver<Chunk>,
    rest: Bytes,
}

impl BufRead for Body {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.rest.is_empty() {
            match self.queue.blocking_recv() {
                Some(Chunk::Bytes(bytes)) => self.rest = bytes,
                Some(Chunk::Broken) => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => break,
            }
        }
        Ok(&self.rest)
    }

    fn consume(&mut self, amount: usize) {
        self.rest.advance(amount);
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"a log, a log, a log, a log, a log, a log";

    /// The bytes in chunks, and what became of them.
    fn written(encoding: Encoding, chunks: Vec<Chunk>, most: u64) -> Result<Vec<u8>, Failure> {
        let (sender, queue) = mpsc::channel(chunks.len() + 1);
        for chunk in chunks {
            sender.try_send(chunk).unwrap();
        }
        drop(sender);
        let mut to = Vec::new();
        let length = write(queue, encoding, most, &mut to)?;
        assert_eq!(length, to.len() as u64);
        Ok(to)
    }

    fn encoded(bytes: &[u8]) -> [(&'static str, Vec<u8>); 5] {
        let read = |mut reader: Box<dyn Read>| {
            let mut out = Vec::new();
            reader.read_to_end(&mut out).unwrap();
            out
        };
        let owned = || io::Cursor::new(bytes.to_vec());
        let mut brotli = Vec::new();
        brotli::CompressorWriter::new(&mut brotli, 4096, 5, 20).write_all(bytes).unwrap();
        [
            ("identity", bytes.to_vec()),
            ("gzip", read(Box::new(flate2::read::GzEncoder::new(owned(), flate2::Compression::best())))),
            ("deflate", read(Box::new(flate2::read::ZlibEncoder::new(owned(), flate2::Compression::best())))),
            ("zstd", zstd::stream::encode_all(bytes, 3).unwrap()),
            ("br", brotli),
        ]
    }

    fn chunks(bytes: &[u8]) -> Vec<Chunk> {
        bytes.chunks(7).map(|chunk| Chunk::Bytes(Bytes::copy_from_slice(chunk))).collect()
    }

    #[test]
    fn every_encoding_is_taken_off() {
        for (name, bytes) in encoded(TEXT) {
            let encoding = Encoding::named(name).unwrap();
            assert_eq!(written(encoding, chunks(&bytes), 40).unwrap(), TEXT, "{name}");
        }
        assert_eq!(Encoding::named("gzip, br"), None);
        assert_eq!(Encoding::named("rot13"), None);
    }

    #[test]
    fn what_breaks_off_is_not_whole() {
        for (name, bytes) in encoded(TEXT) {
            let mut broken = chunks(&bytes[..bytes.len() / 2]);
            broken.push(Chunk::Broken);
            let encoding = Encoding::named(name).unwrap();
            assert!(matches!(written(encoding, broken, 40), Err(Failure::Encoding(_))), "{name}");
        }
    }

    #[test]
    fn a_bomb_stops_at_the_bound() {
        for (name, bytes) in encoded(&vec![0; 1 << 20]) {
            let encoding = Encoding::named(name).unwrap();
            assert!(matches!(written(encoding, chunks(&bytes), 1000), Err(Failure::TooLong)), "{name}");
        }
    }
}
