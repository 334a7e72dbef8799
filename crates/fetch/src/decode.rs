//! The decompressors.

mod lz4;
mod lzw;

use std::io::{self, BufRead, Read};

use granary_nix::Compression;
use liblzma::stream::{self, Stream};
use lz4::Lz4;
use lzw::Lzw;

/// Memory that one decoder of xz, lzma or lzip may take, in bytes. The strongest preset needs 65 MiB; a hostile header could
/// ask for 4 GiB.
const LZMA_MEMORY: u64 = 256 << 20;
/// Largest window of a zstd frame, as a power of two: 128 MiB, what `zstd --ultra --long` makes and any decoder takes unasked.
/// A hostile header could ask for 2 TiB.
const ZSTD_WINDOW_LOG: u32 = 27;
/// Buffer of the brotli decoder in bytes.
const BROTLI_BUFFER: usize = 64 << 10;

/// A reader of what `compressed` decompresses to, through all of its concatenated streams; only lzma, brotli and
/// `compress` have no way to concatenate them.
///
/// What xz and lzip files say about the integrity of their own content is not compared, which saves a tenth of the time:
/// whoever calls this compares the content with a hash from a narinfo, which says more. That a file is cut is noticed,
/// except between two codes of `compress`.
///
/// However much memory a file's header asks for, no decoder takes more than a quarter of a GiB; a file that needs more is an
/// error. A compression that is not supported is an error of kind [`io::ErrorKind::Unsupported`].
pub fn decoder<'r>(
    compression: Compression,
    mut compressed: impl BufRead + 'r,
) -> io::Result<Box<dyn Read + 'r>> {
    let flags = stream::CONCATENATED | stream::IGNORE_CHECK;
    Ok(match compression {
        Compression::None => Box::new(compressed),
        Compression::Xz => lzma(compressed, Stream::new_stream_decoder(LZMA_MEMORY, flags)?),
        Compression::Lzma => lzma(compressed, Stream::new_lzma_decoder(LZMA_MEMORY)?),
        Compression::Lzip => lzma(compressed, Stream::new_lzip_decoder(LZMA_MEMORY, flags)?),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(compressed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Compression::Lz4 => Box::new(Lz4::new(compressed)),
        Compression::Compress => Box::new(Lzw::new(compressed)?),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(compressed)),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
        Compression::Brotli => {
            refuse_large_window(&mut compressed)?;
            Box::new(brotli::Decompressor::new(compressed, BROTLI_BUFFER))
        }
        other => {
            let message = format!("NAR files compressed with {other} cannot be read here");
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    })
}

fn lzma<'r>(compressed: impl BufRead + 'r, stream: Stream) -> Box<dyn Read + 'r> {
    Box::new(liblzma::bufread::XzDecoder::new_stream(compressed, stream))
}

/// Brotli has windows of 16 MiB at most, and an extension for windows of up to a GiB, which the decoder would take. Nix reads
/// no such file.
fn refuse_large_window(compressed: &mut impl BufRead) -> io::Result<()> {
    match compressed.fill_buf()?.first() {
        Some(first) if first & 0x7f == 0x11 => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a brotli file with a large window"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write as _;

    use liblzma::stream::{Filters, LzmaOptions};

    use super::*;

    const TEXT: &[u8] = b"nix-archive-1 nix-archive-1 nix-archive-1 nix-archive-1";

    /// A file of this compression with this in it.
    pub(crate) fn compress(compression: Compression, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match compression {
            Compression::Xz => liblzma::read::XzEncoder::new(text, 6).read_to_end(&mut out).map(drop),
            Compression::Bzip2 => {
                bzip2::read::BzEncoder::new(text, bzip2::Compression::best()).read_to_end(&mut out).map(drop)
            }
            Compression::Gzip => flate2::read::GzEncoder::new(text, flate2::Compression::best())
                .read_to_end(&mut out)
                .map(drop),
            Compression::Zstd => zstd::stream::copy_encode(text, &mut out, 3),
            Compression::Brotli => {
                let mut writer = brotli::CompressorWriter::new(&mut out, 4096, 5, 20);
                writer.write_all(text)
            }
            Compression::Lzma => {
                let stream = Stream::new_lzma_encoder(&LzmaOptions::new_preset(6).unwrap()).unwrap();
                liblzma::read::XzEncoder::new_stream(text, stream).read_to_end(&mut out).map(drop)
            }
            Compression::Lzip => {
                out = lzip(text);
                Ok(())
            }
            Compression::Lz4 => {
                let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
                let mut writer = lz4_flex::frame::FrameEncoder::with_frame_info(info, &mut out);
                let written = writer.write_all(text);
                writer.finish().unwrap();
                written
            }
            Compression::Compress => {
                out = lzw::tests::compressed(text, 0x90);
                Ok(())
            }
            _ => out.write_all(text),
        }
        .unwrap();
        out
    }

    /// A member of an lzip file: its header with a dictionary of 4 KiB, LZMA with an end mark, and the trailer.
    fn lzip(text: &[u8]) -> Vec<u8> {
        let mut options = LzmaOptions::new_preset(6).unwrap();
        options.dict_size(4096);
        let stream = Stream::new_raw_encoder(Filters::new().lzma1(&options)).unwrap();
        let mut file = b"LZIP\x01\x0c".to_vec();
        liblzma::read::XzEncoder::new_stream(text, stream).read_to_end(&mut file).unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(text);
        file.extend(crc.sum().to_le_bytes());
        file.extend((text.len() as u64).to_le_bytes());
        file.extend((file.len() as u64 + 8).to_le_bytes());
        file
    }

    fn decompress(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decoder(compression, bytes)?.read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn every_supported_compression_reads_back() {
        for compression in Compression::ALL {
            let result = decompress(compression, &compress(compression, TEXT));
            if compression.is_supported() {
                assert_eq!(result.unwrap(), TEXT, "{compression}");
            } else {
                assert_eq!(result.unwrap_err().kind(), io::ErrorKind::Unsupported, "{compression}");
            }
        }
    }

    #[test]
    fn concatenated_streams_are_one() {
        let alone = [Compression::None, Compression::Lzma, Compression::Brotli, Compression::Compress];
        let all = Compression::ALL.into_iter();
        for compression in all.filter(|one| one.is_supported() && !alone.contains(one)) {
            let twice = compress(compression, TEXT).repeat(2);
            assert_eq!(decompress(compression, &twice).unwrap(), TEXT.repeat(2), "{compression}");
        }
    }

    #[test]
    fn a_cut_stream_is_an_error_and_not_an_end() {
        let all = Compression::ALL.into_iter();
        let silent = [Compression::None, Compression::Compress];
        for compression in all.filter(|one| one.is_supported() && !silent.contains(one)) {
            let whole = compress(compression, TEXT);
            assert!(decompress(compression, &whole[..whole.len() - 3]).is_err(), "{compression}");
        }
    }
}
