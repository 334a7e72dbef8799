//! Why there is no listing.

use thiserror::Error;

use super::{MAX_ENTRIES, MAX_TEXT};

/// Why a listing cannot be written or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ListingError {
    /// More entries than [`MAX_ENTRIES`].
    #[error("there are more than {MAX_ENTRIES} entries")]
    Entries,
    /// Longer than [`MAX_TEXT`].
    #[error("the listing has more than {MAX_TEXT} bytes")]
    TooLarge,
    /// A name or target that JSON cannot carry. Nix's versions differ in what they make of such an archive.
    #[error("{name:?} is not UTF-8")]
    Utf8 {
        /// The name or the target, shortened.
        name: String,
    },
    /// The archive has not been read to its end.
    #[error("the archive has not been read to its end")]
    Incomplete,
    /// Not JSON, or not of a listing's shape.
    #[error("the listing is malformed: {problem}")]
    Json {
        /// What is wrong, and where.
        problem: String,
    },
    /// Another version than 1.
    #[error("the listing has version {version}; only 1 is known")]
    Version {
        /// The version.
        version: u64,
    },
    /// A node without what its type has.
    #[error("{name:?} is of type {kind:?} and has no {field}")]
    Field {
        /// The name of the node, shortened; empty for the root.
        name: String,
        /// Its type, shortened.
        kind: String,
        /// What it lacks.
        field: &'static str,
    },
    /// A node of an unknown type.
    #[error("{name:?} is of the unknown type {kind:?}")]
    Kind {
        /// The name of the node, shortened; empty for the root.
        name: String,
        /// Its type, shortened.
        kind: String,
    },
    /// A name that would lead elsewhere.
    #[error("{name:?} is no name of an entry")]
    Name {
        /// The name, shortened.
        name: String,
    },
}
