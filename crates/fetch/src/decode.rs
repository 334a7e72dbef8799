//! The decompressors.

use std::io::{self, BufRead, Read};

use granary_nix::Compression;
use liblzma::stream;

/// Memory that one xz decoder may take, in bytes. The strongest preset needs 65 MiB; a hostile header could ask for 4 GiB.
const XZ_MEMORY: u64 = 256 << 20;
/// Buffer of the brotli decoder in bytes.
const BROTLI_BUFFER: usize = 64 << 10;

/// A reader of what `compressed` decompresses to, through all of its concatenated streams.
///
/// What xz files say about the integrity of their own content is not compared, which saves a tenth of the time: whoever
/// calls this compares the content with a hash from a narinfo, which says more. Where a file is cut is noticed.
///
/// A compression that is not supported is an error of kind [`io::ErrorKind::Unsupported`].
pub fn decoder<'r>(
    compression: Compression,
    compressed: impl BufRead + 'r,
) -> io::Result<Box<dyn Read + 'r>> {
    Ok(match compression {
        Compression::None => Box::new(compressed),
        Compression::Xz => {
            let flags = stream::CONCATENATED | stream::IGNORE_CHECK;
            let stream = stream::Stream::new_stream_decoder(XZ_MEMORY, flags)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(compressed, stream))
        }
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(compressed)?),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(compressed)),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
        Compression::Brotli => Box::new(brotli::Decompressor::new(compressed, BROTLI_BUFFER)),
        other => {
            let message = format!("NAR files compressed with {other} cannot be read here");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const TEXT: &[u8] = b"nix-archive-1 nix-archive-1 nix-archive-1 nix-archive-1";

    fn compress(compression: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        match compression {
            Compression::Xz => liblzma::read::XzEncoder::new(TEXT, 6).read_to_end(&mut out).map(drop),
            Compression::Bzip2 => {
                bzip2::read::BzEncoder::new(TEXT, bzip2::Compression::best()).read_to_end(&mut out).map(drop)
            }
            Compression::Gzip => flate2::read::GzEncoder::new(TEXT, flate2::Compression::best())
                .read_to_end(&mut out)
                .map(drop),
            Compression::Zstd => zstd::stream::copy_encode(TEXT, &mut out, 3),
            Compression::Brotli => {
                let mut writer = brotli::CompressorWriter::new(&mut out, 4096, 5, 20);
                writer.write_all(TEXT)
            }
            _ => out.write_all(TEXT),
        }
        .unwrap();
        out
    }

    fn decompress(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(compression, bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_supported_compression_reads_back() {
        for compression in Compression::ALL {
            let result = decompress(compression, &compress(compression));
            if compression.is_supported() {
                assert_eq!(result.unwrap(), TEXT, "{compression}");
            } else {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Unsupported, "{compression}");
            }
        }
    }

    #[test]
    fn concatenated_streams_are_one() {
        for compression in [Compression::Xz, Compression::Zstd, Compression::Bzip2, Compression::Gzip] {
            let twice = compress(compression).repeat(2);
            assert_eq!(decompress(compression, &twice).unwrap(), TEXT.repeat(2), "{compression}");
        }
    }

    #[test]
    fn a_cut_stream_is_an_error_and_not_an_end() {
        for compression in
            [Compression::Xz, Compression::Zstd, Compression::Bzip2, Compression::Gzip, Compression::Brotli]
        {
            let whole = compress(compression);
            assert!(decompress(compression, &whole[..whole.len() - 3]).is_err(), "{compression}");
        }
    }
}
