//! The files of `compress`, which Nix calls by the same name: LZW with codes that grow from 9 to at most 16 bits.
//!
//! There is no crate for this variant: the LZW of pictures ends its codes at 12 bits and knows no groups. The format has no
//! document but its programs; what is said of it here was compared with what libarchive (in Nix) and gzip make of such files.

use std::io::{self, BufRead, Read};
use std::ops::RangeInclusive;

/// What a file begins with.
const MAGIC: [u8; 2] = [0x1f, 0x9d];
/// In the third byte: the code 256 empties the table.
const HAS_CLEAR: u8 = 0x80;
/// In the third byte: the bits of the widest code.
const WIDEST: u8 = 0x1f;
const FIRST_WIDTH: u32 = 9;
/// The bits that a widest code may have. Programs disagree about files of codes that do not grow, and none makes them.
const WIDTHS: RangeInclusive<u32> = 10..=16;
/// The code that empties the table.
const CLEAR: usize = 256;

/// What one file decompresses to. Needs 256 KiB. The format has no mark at its end: a file that is cut between two bytes of a
/// code is an error, and one that is cut between two codes is only short.
pub(super) struct Lzw<R> {
    codes: Codes<R>,
    widest: u32,
    has_clear: bool,
    /// For each code from 256 on, the code of all but its last byte, and that byte.
    table: Vec<(u16, u8)>,
    /// The first code that has no entry yet.
    free: usize,
    /// The code before, and the first byte of what it stands for.
    before: Option<(usize, u8)>,
    /// What the last code stands for, from its end, as far as it has not been read.
    pending: Vec<u8>,
}

impl<R: BufRead> Lzw<R> {
    /// Reads the header.
    pub(super) fn new(mut compressed: R) -> io::Result<Self> {
        let mut header = [0; 3];
        compressed.read_exact(&mut header)?;
        let [first, second, flags] = header;
        let widest = u32::from(flags & WIDEST);
        if [first, second] != MAGIC || !WIDTHS.contains(&widest) {
            return Err(wrong("not a file of compress"));
        }
        let has_clear = flags & HAS_CLEAR != 0;
        Ok(Self {
            codes: Codes { inner: compressed, width: FIRST_WIDTH, bits: 0, held: 0, bytes: 0 },
            widest,
            has_clear,
            table: vec![(0, 0); 1 << widest],
            free: first_free(has_clear),
            before: None,
            pending: Vec::new(),
        })
    }

    /// Reads one code and what it stands for; `false` at the end.
    fn next(&mut self) -> io::Result<bool> {
        // The writer begins a wider code as soon as the next entry would not fit, except with the widest one.
        if self.free >> self.codes.width != 0 && self.codes.width < self.widest {
            self.codes.restart(self.codes.width + 1)?;
        }
        let Some(code) = self.codes.next()? else { return Ok(false) };
        if code == CLEAR && self.has_clear {
            self.codes.restart(FIRST_WIDTH)?;
            (self.free, self.before) = (first_free(true), None);
            return Ok(true);
        }
        let mut rest = code;
        match self.before {
            None if code > 0xff => return Err(wrong("its first code is not a byte")),
            Some(_) if code > self.free => return Err(wrong("a code that has not been defined")),
            // The entry that this very code completes: what was before, and its first byte again.
            Some((before, first)) if code == self.free => {
                self.pending.push(first);
                rest = before;
            }
            _ => {}
        }
        let first = loop {
            if let Ok(byte) = u8::try_from(rest) {
                break byte;
            }
            let (prefix, last) = self.table[rest];
            self.pending.push(last);
            rest = prefix.into();
        };
        self.pending.push(first);
        if let (Some((before, _)), Some(entry)) = (self.before, self.table.get_mut(self.free)) {
            // A code has at most 16 bits.
            *entry = (u16::try_from(before).unwrap_or_default(), first);
            self.free += 1;
        }
        self.before = Some((code, first));
        Ok(true)
    }
}

/// The first code that stands for more than one byte.
const fn first_free(has_clear: bool) -> usize {
    if has_clear { CLEAR + 1 } else { CLEAR }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl<R: BufRead> Read for Lzw<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            if self.pending.is_empty() && !self.next()? {
                break;
            }
            for byte in &mut buffer[length..] {
                let Some(next) = self.pending.pop() else { break };
                *byte = next;
                length += 1;
            }
        }
        Ok(length)
    }
}

/// Codes of a width, the lowest bit first. They come in groups of eight, which a change of the width leaves unfinished.
struct Codes<R> {
    inner: R,
    width: u32,
    /// Bits that are read and not yet part of a code.
    bits: u32,
    /// How many those are.
    held: u32,
    /// Bytes since the width was last set.
    bytes: usize,
}

impl<R: BufRead> Codes<R> {
    /// `None` at the end.
    fn next(&mut self) -> io::Result<Option<usize>> {
        while self.held < self.width {
            let Some(byte) = self.byte()? else {
                // A last code is filled up to a whole byte.
                return if self.held < 8 { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            };
            self.bits |= u32::from(byte) << self.held;
            self.held += 8;
        }
        let code = self.bits & ((1 << self.width) - 1);
        self.bits >>= self.width;
        self.held -= self.width;
        Ok(usize::try_from(code).ok())
    }

    /// Goes to the end of the group, and on with another width.
    fn restart(&mut self, width: u32) -> io::Result<()> {
        while !self.bytes.is_multiple_of(self.width as usize) {
            if self.byte()?.is_none() {
                break;
            }
        }
        (self.width, self.bits, self.held, self.bytes) = (width, 0, 0, 0);
        Ok(())
    }

    fn byte(&mut self) -> io::Result<Option<u8>> {
        let byte = self.inner.fill_buf()?.first().copied();
        if byte.is_some() {
            self.inner.consume(1);
            self.bytes += 1;
        }
        Ok(byte)
    }
}

#[cfg(test)]
pub(super) mod tests;
