//! What a check found.

use std::fmt;

use granary_fetch::Fault;
use granary_placement::report::RefusalReason;
use serde::{Serialize, Serializer};

/// What a check of a tree found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TreeCheck {
    /// Artifacts in the tree, good or bad.
    pub artifacts: u64,
    /// Narinfos in the catalog, good or bad.
    pub catalog: u64,
    /// Bytes of NAR files that were read.
    pub bytes: u64,
    /// Files beside the artifacts, good or bad: listings, logs, debug indexes, realisations, build traces.
    pub extras: u64,
    /// Logs among them, of which nobody can tell whether they are true.
    pub logs: u64,
    /// What makes the tree not a valid cache of verified artifacts, sorted by path.
    pub faults: Vec<Finding>,
    /// What is odd and does no harm, sorted by path.
    pub notes: Vec<Finding>,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The file, relative to the tree.
    pub path: String,
    /// The kind of fault.
    pub kind: Kind,
    /// The fault in words.
    pub message: String,
}

impl Finding {
    /// A finding about the file at `path`.
    pub fn new(path: impl Into<String>, kind: impl Into<Kind>, message: impl Into<String>) -> Self {
        Self { path: path.into(), kind: kind.into(), message: message.into() }
    }

    pub(super) fn of(path: &str, fault: Fault) -> Self {
        Self::new(path, fault.reason, fault.message)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, kind, message } = self;
        write!(f, "{path}: {kind}: {message}")
    }
}

/// The kinds of findings: those for which an artifact is refused, and some that only a tree can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The artifact would be refused for this.
    Refused(RefusalReason),
    /// `nix-cache-info` is absent or says something that clients cannot use.
    CacheInfo,
    /// A file that is not whole can be seen under a NAR file's name.
    HalfWritten,
    /// A NAR file that no narinfo names, or a listing of nothing.
    Orphan,
    /// A listing that does not say what its NAR does.
    Listing,
    /// A log that is not what was written.
    Log,
    /// An entry of the debug index that leads nowhere.
    DebugInfo,
    /// A realisation or a build trace that cannot be read, or whose signature does not hold.
    Realisation,
    /// A file that does not belong to a binary cache.
    Stray,
}

impl From<RefusalReason> for Kind {
    fn from(reason: RefusalReason) -> Self {
        Self::Refused(reason)
    }
}

impl Kind {
    /// The kind in kebab case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused(reason) => reason.as_str(),
            Self::CacheInfo => "cache-info",
            Self::HalfWritten => "half-written",
            Self::Orphan => "orphan",
            Self::Listing => "listing",
            Self::Log => "log",
            Self::DebugInfo => "debuginfo",
            Self::Realisation => "realisation",
            Self::Stray => "stray",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
