//! Why a name or a document is refused.

use thiserror::Error;

use super::debug_info::MAX_TEXT;
use crate::hash_part::HashPartError;
use crate::realisation::RealisationError;
use crate::store_path::StorePathError;

/// Why a text is no name of an extra file, or no document of the index of debug information.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExtraError {
    /// The name of nothing that a cache serves beside its artifacts.
    #[error("{name:?} is no name of a listing, log, debug index entry, realisation or build trace")]
    Name {
        /// The name, shortened.
        name: String,
    },
    /// The name of a listing without a hash part.
    #[error(transparent)]
    HashPart(#[from] HashPartError),
    /// A log that is not named by a store path.
    #[error(transparent)]
    StorePath(#[from] StorePathError),
    /// A log of something that is no derivation.
    #[error("{path} is no derivation")]
    Derivation {
        /// The path.
        path: String,
    },
    /// A malformed name of a realisation or of a build trace.
    #[error(transparent)]
    Realisation(#[from] RealisationError),
    /// Not 40 lower-case hexadecimal digits.
    #[error("{text:?} is no build id of 40 lower-case hexadecimal digits")]
    BuildId {
        /// The text, shortened.
        text: String,
    },
    /// Longer than any entry of the index.
    #[error("the entry has {length} bytes; at most {MAX_TEXT} are read")]
    TooLarge {
        /// Bytes given.
        length: usize,
    },
    /// Not JSON, or not of an entry's shape.
    #[error("the entry is malformed: {problem}")]
    Json {
        /// What is wrong, and where.
        problem: String,
    },
    /// The archive is not a NAR file of the same cache.
    #[error("the archive {archive:?} is no NAR file of the same cache")]
    Archive {
        /// The archive, shortened.
        archive: String,
    },
    /// The member is not the file that the build id belongs to.
    #[error("the member is {member:?}, and of build id {build_id} it must be {expected:?}")]
    Member {
        /// The member, shortened.
        member: String,
        /// The build id that the entry is for.
        build_id: String,
        /// The only member that it can name.
        expected: String,
    },
}
