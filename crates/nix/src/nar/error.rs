//! Why an archive is refused.

use thiserror::Error;

use super::{MAX_DEPTH, MAX_NAME, MAX_TARGET};

/// Why bytes are no NAR, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("byte {offset}: {problem}")]
pub struct NarError {
    /// Bytes of the archive before the token, or before the byte of padding, that is wrong.
    pub offset: u64,
    /// What is wrong there.
    pub problem: NarProblem,
}

/// What is wrong in an archive.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NarProblem {
    /// Another word than the grammar has here.
    #[error("{expected} is expected, and {found:?} stands there")]
    Unexpected {
        /// What may stand here.
        expected: &'static str,
        /// What does, shortened.
        found: String,
    },
    /// A token that is longer than anything that may stand here. It was not read.
    #[error("{expected} is expected, and a token of {length} bytes stands there")]
    TokenLength {
        /// What may stand here.
        expected: &'static str,
        /// Bytes that the token claims to have.
        length: u64,
    },
    /// A file that reaches beyond the size that the archive may have.
    #[error("a file of {length} bytes goes beyond the {limit} bytes that the archive may have")]
    FileLength {
        /// Bytes that the file claims to have.
        length: u64,
        /// Bytes that the archive may have.
        limit: u64,
    },
    /// More bytes than the archive may have.
    #[error("the archive goes on after the {limit} bytes that it may have")]
    TooLarge {
        /// Bytes that the archive may have.
        limit: u64,
    },
    /// Tokens are filled up to a multiple of eight bytes, with zeros.
    #[error("the padding is not zero")]
    Padding,
    /// The executable marker is followed by an empty token.
    #[error("the executable marker has a value")]
    ExecutableValue,
    /// An entry without a name.
    #[error("the name of an entry is empty")]
    NameEmpty,
    /// `.` or `..`, or a name with `/` or NUL: it would lead elsewhere.
    #[error("{name:?} is no name of an entry")]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// A name that no file system can hold.
    #[error("the name of an entry has {length} bytes; {MAX_NAME} are the most")]
    NameLength {
        /// Bytes that the name claims to have.
        length: u64,
    },
    /// The name of the entry before, again.
    #[error("the directory has two entries {name:?}")]
    Duplicate {
        /// The name, shortened.
        name: String,
    },
    /// Entries are in the order of their names' bytes.
    #[error("entry {name:?} comes after {previous:?}, and belongs before it")]
    Unsorted {
        /// The name, shortened.
        name: String,
        /// The name of the entry before it, shortened.
        previous: String,
    },
    /// A symlink to nowhere, or with NUL in its target.
    #[error("{target:?} is no target of a symlink")]
    Target {
        /// The target, shortened.
        target: String,
    },
    /// A target that no file system can hold.
    #[error("the target of a symlink has {length} bytes; {MAX_TARGET} are the most")]
    TargetLength {
        /// Bytes that the target claims to have.
        length: u64,
    },
    /// More levels of directories than [`MAX_DEPTH`].
    #[error("the tree has more than {MAX_DEPTH} levels")]
    Depth,
    /// Something follows the archive.
    #[error("the archive is complete, and more follows")]
    Trailing,
    /// The bytes end within the archive.
    #[error("{expected} is expected, and the bytes end there")]
    Truncated {
        /// What is missing.
        expected: &'static str,
    },
}
