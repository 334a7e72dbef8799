//! How many bytes an archive has for what stands in it.

use thiserror::Error;

/// Bytes of a token of so many bytes, at most 32: its length, itself, and zeros up to a multiple of eight.
const fn word(length: u64) -> u64 {
    8 + length.next_multiple_of(8)
}

/// What stands at the start of every archive: `nix-archive-1`.
pub(super) const MAGIC: u64 = word(13);
/// Any node without the name of its type: `(`, `type`, `)`.
const NODE: u64 = word(1) + word(4) + word(1);
/// A directory without its entries.
pub(super) const DIRECTORY: u64 = NODE + word(9);
/// What an entry adds besides its name and its node: `entry`, `(`, `name`, `node`, `)`.
pub(super) const ENTRY: u64 = word(5) + word(1) + word(4) + word(4) + word(1);
/// A symlink without its target.
pub(super) const SYMLINK: u64 = NODE + word(7) + word(6);
/// A file without its contents, but with the word before them.
const FILE: u64 = NODE + word(7) + word(8);
/// What an executable file has more: `executable`, and an empty token.
const EXECUTABLE: u64 = word(10) + word(0);

/// The sizes add up to more than any archive has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the archive would have more bytes than can be counted")]
pub(super) struct TooMuch;

/// Bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) u64);

impl Count {
    pub(super) fn and(self, bytes: u64) -> Result<Self, TooMuch> {
        self.0.checked_add(bytes).map(Self).ok_or(TooMuch)
    }

    /// And a token of so many bytes.
    pub(super) fn token(self, length: u64) -> Result<Self, TooMuch> {
        self.and(8)?.and(length.checked_next_multiple_of(8).ok_or(TooMuch)?)
    }
}

/// A file with so many bytes of contents.
pub(super) fn file(size: u64, executable: bool) -> Result<Count, TooMuch> {
    Count(FILE).and(if executable { EXECUTABLE } else { 0 })?.token(size)
}
