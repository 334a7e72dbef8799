//! The frames of lz4.

use std::io::{self, BufRead, Read};

use lz4_flex::frame::FrameDecoder;

/// What concatenated frames decompress to. Needs 17 MiB at most, whatever a frame's header says.
pub(super) struct Lz4<R: Read>(FrameDecoder<Watched<R>>);

impl<R: BufRead> Lz4<R> {
    pub(super) fn new(compressed: R) -> Self {
        Self(FrameDecoder::new(Watched { inner: compressed, at_end: false }))
    }
}

impl<R: BufRead> Read for Lz4<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.0.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            // The decoder says the same of a frame's end and of a file that is cut between two blocks. Only for the latter it
            // has seen the end of the file: after a frame it has not looked yet.
            let file = self.0.get_mut();
            if file.at_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if file.inner.fill_buf()?.is_empty() {
                return Ok(0);
            }
        }
    }
}

/// Notes when the end is read.
struct Watched<R> {
    inner: R,
    at_end: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.at_end = length == 0 && !buffer.is_empty();
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use lz4_flex::frame::{BlockMode, FrameEncoder, FrameInfo};

    use super::*;

    fn frame(info: FrameInfo, bytes: &[u8]) -> Vec<u8> {
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(file: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        Lz4::new(file).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn a_cut_anywhere_is_an_error() {
        let bytes: Vec<u8> =
            (0..200_000_u32).flat_map(|number| number.wrapping_mul(number).to_le_bytes()).collect();
        for mode in [BlockMode::Independent, BlockMode::Linked] {
            let info = || FrameInfo::new().block_mode(mode).block_size(lz4_flex::frame::BlockSize::Max64KB);
            let file = frame(info(), &bytes);
            assert_eq!(read(&file).unwrap(), bytes);
            let near_ends = (0..200).chain(file.len() - 200..file.len());
            for length in near_ends.chain((200..file.len() - 200).step_by(997)) {
                assert!(read(&file[..length]).is_err(), "{length} bytes of {}", file.len());
            }
            assert_eq!(
                read(&[file.clone(), frame(info(), b"more")].concat()).unwrap().len(),
                bytes.len() + 4
            );
            assert!(read(&[&file, &b"no frame"[..]].concat()).is_err(), "what follows must be a frame");
        }
    }
}
