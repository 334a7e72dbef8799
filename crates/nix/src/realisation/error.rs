//! Why a realisation is refused.

use thiserror::Error;

use super::MAX_TEXT;
use crate::hash::HashError;
use crate::store_path::StorePathError;

/// Why a text is no realisation, or no name of one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RealisationError {
    /// Longer than [`MAX_TEXT`].
    #[error("the text has {length} bytes; a realisation has at most {MAX_TEXT}")]
    TooLarge {
        /// Bytes given.
        length: usize,
    },
    /// Not JSON, or not of a realisation's shape.
    #[error("the realisation is malformed: {problem}")]
    Json {
        /// What is wrong, and where.
        problem: String,
    },
    /// Not of the form `sha256:<digest>!<output>`.
    #[error("{text:?} is not of the form sha256:<digest>!<output>")]
    Id {
        /// The text, shortened.
        text: String,
    },
    /// The hash of the derivation is malformed.
    #[error("the derivation's hash: {0}")]
    Hash(#[from] HashError),
    /// The name of an output is empty, too long, or has a character that a store path cannot have.
    #[error("{name:?} is no name of an output")]
    Output {
        /// The name, shortened.
        name: String,
    },
    /// Not a store path's base name.
    #[error(transparent)]
    StorePath(#[from] StorePathError),
    /// Not the path of a derivation.
    #[error("{path} is no derivation")]
    Derivation {
        /// The path.
        path: String,
    },
    /// Not the name of a file below `build-trace-v2/`.
    #[error("{name:?} is not of the form build-trace-v2/<derivation>/<output>.doi")]
    FileName {
        /// The name, shortened.
        name: String,
    },
}

impl From<serde_json::Error> for RealisationError {
    fn from(error: serde_json::Error) -> Self {
        Self::Json { problem: error.to_string() }
    }
}
