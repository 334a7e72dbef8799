//! Why nothing, or no more, could be carried.

use std::io;
use std::path::{Path, PathBuf};

use crate::tree::TreeError;

/// Why nothing, or no more, could be carried. What is wrong with single artifacts is in the outcome instead.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The origin cannot be read at all.
    #[error("cannot read {}: {source}", path.display())]
    Origin {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A cache behind HTTP cannot be listed.
    #[error("say with --store-path what to take: a cache behind HTTP has no list of what is in it")]
    NoList,
    /// One directory is below the other.
    #[error("{} and {} are one below the other; give the copy a place of its own", from.display(), to.display())]
    Nested {
        /// The origin.
        from: PathBuf,
        /// The target.
        to: PathBuf,
    },
    /// An export to a directory that a mirror works in.
    #[error("{} is a mirror's directory; put artifacts into it with import", path.display())]
    MirrorDirectory {
        /// The directory.
        path: PathBuf,
    },
    /// Another export writes to the same directory.
    #[error("{} is being written by another export", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// What the target is, cannot be used.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The target cannot take all that is to be copied.
    #[error("{problem}; nothing was copied")]
    NoRoom {
        /// What is short, and what to do.
        problem: String,
    },
    /// The target's filesystem said no.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Target {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The mirror's tree said no.
    #[error("{source}{}", tree_advice(source))]
    Tree {
        /// Why.
        #[from]
        source: TreeError,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Threads(io::Error),
    /// It was asked to stop.
    #[error("stopped; what is copied stays, and the same command goes on from there")]
    Stopped,
}

impl CarryError {
    /// For `map_err`: the target's filesystem refused to do `action` with `path`.
    pub(super) fn target(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Target { action, path: path.to_owned(), source }
    }
}

/// What a person can do about it.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull => {
            "; make room, or take a larger disk, and give the same command again (a directory of a FAT filesystem is \
             full at about 10,000 files)"
        }
        io::ErrorKind::QuotaExceeded => "; the user's quota is used up",
        io::ErrorKind::ReadOnlyFilesystem => {
            "; the filesystem is mounted read-only (is the stick's switch on?)"
        }
        io::ErrorKind::FileTooLarge => {
            "; the file is larger than this filesystem takes (FAT: less than 4 GiB); format it as exFAT or ext4"
        }
        io::ErrorKind::PermissionDenied => "; it belongs to another user",
        _ => "",
    }
}

fn tree_advice(error: &TreeError) -> &'static str {
    match error {
        TreeError::InUse { .. } => {
            "; stop it, import, and start it again; or, while it runs and push is on, use nix copy --to http://…"
        }
        TreeError::Io { source, .. } => advice(source),
        TreeError::ReferenceMissing { .. } | TreeError::Referred { .. } | TreeError::NotThere { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_a_read_only_and_a_small_filesystem_are_told_apart() {
        for (code, word) in
            [(nix::libc::ENOSPC, "make room"), (nix::libc::EROFS, "read-only"), (nix::libc::EFBIG, "exFAT")]
        {
            let error = CarryError::target("write", Path::new("/x"))(io::Error::from_raw_os_error(code));
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
