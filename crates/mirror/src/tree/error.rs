//! Why the tree could not be used.

use std::io;
use std::path::{Path, PathBuf};

use granary_nix::{HashPart, StorePath};

/// Why the tree could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The filesystem said no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Another process writes to the same directory.
    #[error("{} is in use by another granary-mirror; one directory belongs to one mirror", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// A narinfo would be visible without its closure.
    #[error(
        "{artifact} cannot be published: its reference {reference} is neither in the tree nor in the catalog"
    )]
    ReferenceMissing {
        /// What should be published.
        artifact: StorePath,
        /// What it needs.
        reference: StorePath,
    },
    /// A published artifact would be visible without its closure.
    #[error("{artifact} cannot be taken out: {referrers} published artifacts refer to it")]
    Referred {
        /// What should be taken out.
        artifact: HashPart,
        /// How many need it.
        referrers: u32,
    },
    /// It is not there.
    #[error("{artifact} is not {place}")]
    NotThere {
        /// What was asked for.
        artifact: HashPart,
        /// Where it was looked for: `published`, `in the trash`.
        place: &'static str,
    },
}

impl TreeError {
    /// The same error once more, for each of several things that failed together.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Io { action, path, source } => {
                let source = io::Error::new(source.kind(), source.to_string());
                Self::Io { action, path: path.clone(), source }
            }
            Self::InUse { path } => Self::InUse { path: path.clone() },
            Self::Referred { artifact, referrers } => {
                Self::Referred { artifact: *artifact, referrers: *referrers }
            }
            Self::NotThere { artifact, place } => Self::NotThere { artifact: *artifact, place },
            Self::ReferenceMissing { artifact, reference } => {
                Self::ReferenceMissing { artifact: artifact.clone(), reference: reference.clone() }
            }
        }
    }

    /// Whether the disk takes nothing in: it is mounted read-only, or Linux made it so after an error.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    /// For what can wait until the disk takes something in: whether it is done.
    pub(crate) fn or_later(done: Result<(), Self>) -> Result<bool, Self> {
        match done {
            Err(error) if error.is_read_only() => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// For `map_err`: the error of doing `action` with `path`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
