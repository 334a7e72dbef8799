//! What a hostile header can make a decoder take. The only test of its process: it looks at the process's address space, in
//! which memory stands that was asked for and not touched yet.
#![allow(clippy::unwrap_used, reason = "a test, whose helpers clippy does not take for such")]

use std::fs;
use std::io::{self, Read as _};

use granary_fetch::decode::decoder;
use granary_nix::Compression;
use liblzma::stream::{LzmaOptions, Stream};

const TEXT: &[u8] = b"nix-archive-1 nix-archive-1";
/// More than any decoder may take.
const BOUND: u64 = 300 << 20;

/// The most address space that the process had so far, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn decompress(compression: Compression, file: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    decoder(compression, file)?.read_to_end(&mut out).map(|_| out)
}

fn crc32(bytes: &[u8]) -> [u8; 4] {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

/// An xz file whose header asks for a dictionary of this size, as LZMA2 codes it; 40 is 4 GiB.
fn xz(dictionary: u8) -> Vec<u8> {
    let mut file = Vec::new();
    liblzma::read::XzEncoder::new(TEXT, 0).read_to_end(&mut file).unwrap();
    // The block header begins after the 12 bytes of the stream's: size, flags, filter, size of its properties, properties.
    let end = 12 + (usize::from(file[12]) + 1) * 4;
    assert_eq!(file[13..16], [0, 0x21, 1], "one filter, LZMA2");
    file[16] = dictionary;
    let crc = crc32(&file[12..end - 4]);
    file[end - 4..end].copy_from_slice(&crc);
    file
}

fn lzma(dictionary: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let stream = Stream::new_lzma_encoder(&LzmaOptions::new_preset(0).unwrap()).unwrap();
    liblzma::read::XzEncoder::new_stream(TEXT, stream).read_to_end(&mut file).unwrap();
    file[1..5].copy_from_slice(&dictionary.to_le_bytes());
    file
}

/// The header of an lzip file, and the start of what would follow.
fn lzip(dictionary: u8) -> Vec<u8> {
    [b"LZIP\x01", &[dictionary][..], &lzma(1 << 20)[13..]].concat()
}

/// A zstd frame with one block that is not compressed.
fn zstd(window_log: u8) -> Vec<u8> {
    let block = u32::try_from(TEXT.len()).unwrap() << 3 | 1;
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, (window_log - 10) << 3][..], &block.to_le_bytes()[..3], TEXT].concat()
}

/// A brotli file with the extension for large windows, one block that is not compressed, and the end.
fn brotli(window_log: u64) -> Vec<u8> {
    let length = TEXT.len() as u64 - 1;
    // From the lowest bit: the mark in 8 bits, the window in 6; not the last block, 4 nibbles of length, not compressed.
    let head = 0x11 | window_log << 8 | length << 17 | 1 << 33;
    [&head.to_le_bytes()[..5], TEXT, &[3]].concat()
}

#[test]
fn no_header_makes_a_decoder_take_more_than_its_bound() {
    // They are well formed, and read back while what they ask for is usual.
    for (compression, file) in
        [(Compression::Xz, xz(28)), (Compression::Lzma, lzma(64 << 20)), (Compression::Zstd, zstd(27))]
    {
        assert_eq!(decompress(compression, &file).unwrap(), TEXT, "{compression}");
    }
    for (compression, file, words) in [
        (Compression::Xz, xz(40), "memory"),
        (Compression::Xz, xz(32), "memory"),
        (Compression::Lzma, lzma(u32::MAX), "memory"),
        (Compression::Lzip, lzip(0x1d), "memory"),
        (Compression::Zstd, zstd(28), "too much memory"),
        (Compression::Zstd, zstd(31), "too much memory"),
        (Compression::Zstd, zstd(41), "too much memory"),
        (Compression::Brotli, brotli(30), "large window"),
    ] {
        let before = peak();
        let error = decompress(compression, &file).unwrap_err().to_string();
        assert!(error.contains(words), "{compression}: {error}");
        let more = peak() - before;
        assert!(more < BOUND, "{compression}: {} MiB", more >> 20);
    }
}
