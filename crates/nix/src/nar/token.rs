//! The tokens of an archive: a length of eight bytes, little-endian, that many bytes, and zeros up to a multiple of
//! eight.

/// Bytes of a token's length, and what tokens are filled up to.
const UNIT: u64 = 8;

/// Where in a token the reader is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Token {
    /// In its length: the bytes of it that have been read, and how many.
    Length { bytes: [u8; 8], have: usize },
    /// In its bytes: those still to come, and the zeros after them.
    Body { left: u64, padding: u8 },
    /// After its bytes: the zeros still to come.
    Padding { left: u8 },
}

impl Token {
    /// Before the first byte of a token.
    pub(super) const START: Self = Self::Length { bytes: [0; 8], have: 0 };

    /// Within a token of this length, after the length.
    pub(super) fn body(length: u64) -> Self {
        Self::Body { left: length, padding: padding(length) }
    }
}

/// Zeros after a token of that length.
fn padding(length: u64) -> u8 {
    // Below eight, so that it fits.
    (length.wrapping_neg() % UNIT).to_le_bytes()[0]
}

/// Bytes of the archive that a token of that length takes after the length, or nothing when no archive is so large.
pub(super) fn padded(length: u64) -> Option<u64> {
    length.checked_add(u64::from(padding(length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_fill_whole_units() {
        let padded: Vec<_> = [0, 1, 7, 8, 9, u64::MAX - 7, u64::MAX].into_iter().map(padded).collect();
        assert_eq!(padded, [Some(0), Some(8), Some(8), Some(8), Some(16), Some(u64::MAX - 7), None]);
    }
}
