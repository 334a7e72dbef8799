//! Why a narinfo is refused.

use thiserror::Error;

use super::MAX_TEXT;
use crate::compression::UnknownCompression;
use crate::content_address::ContentAddressError;
use crate::hash::HashError;
use crate::store_path::StorePathError;

/// Why a text is refused as a narinfo. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NarInfoError {
    /// Longer than [`MAX_TEXT`].
    #[error("the text has {length} bytes; a narinfo has at most {MAX_TEXT}")]
    TooLarge {
        /// Bytes given.
        length: usize,
    },
    /// A line is not UTF-8.
    #[error("line {line}: not UTF-8")]
    Utf8 {
        /// The line.
        line: usize,
    },
    /// A line ends in CR LF. Nix would take the CR as part of the value.
    #[error("line {line} ({field}): ends in CR LF instead of LF")]
    CarriageReturn {
        /// The line.
        line: usize,
        /// The text before its colon, shortened.
        field: String,
    },
    /// The last line has no LF; Nix refuses such a text.
    #[error("line {line} ({field}): the final LF is missing; the text may be cut short")]
    NoFinalLineFeed {
        /// The last line.
        line: usize,
        /// The text before its colon, shortened.
        field: String,
    },
    /// A line without a colon. Nix would take the next line's key as part of this one's.
    #[error("line {line}: {text:?} has no colon")]
    NoColon {
        /// The line.
        line: usize,
        /// Its text, shortened.
        text: String,
    },
    /// Nothing after the colon, not even a space: Nix would take the next line as the value.
    #[error("line {line} ({field}): nothing follows the colon, so that the next line would be its value")]
    NoValue {
        /// The line.
        line: usize,
        /// The text before its colon, shortened.
        field: String,
    },
    /// A known field has a bad value.
    #[error("line {line} ({field}): {problem}")]
    Field {
        /// The line.
        line: usize,
        /// The field's name.
        field: &'static str,
        /// What is wrong.
        problem: FieldProblem,
    },
    /// A required field is absent.
    #[error("{field} is missing in {lines} lines")]
    Missing {
        /// The field's name.
        field: &'static str,
        /// Lines of the text.
        lines: usize,
    },
}

/// What is wrong with the value of a known field.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// A second line with this name. Nix takes the last one of most fields, and other readers the first.
    #[error("given twice, first on line {first}")]
    Twice {
        /// Where it was given first.
        first: usize,
    },
    /// No space after the colon: Nix would drop the value's first character.
    #[error("there is no space after the colon")]
    NoSpace,
    /// The value must not be empty.
    #[error("the value is empty")]
    Empty,
    /// Not a decimal number of 64 bits.
    #[error("{value:?} is not a number of bytes")]
    Number {
        /// The value, shortened.
        value: String,
    },
    /// A NAR has at least one byte.
    #[error("the size is zero")]
    Zero,
    /// Not a store path, or not the base name of one.
    #[error(transparent)]
    StorePath(#[from] StorePathError),
    /// Not a SHA-256 digest.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// Not a compression of Nix.
    #[error(transparent)]
    Compression(#[from] UnknownCompression),
    /// Not a content address.
    #[error(transparent)]
    ContentAddress(#[from] ContentAddressError),
}
