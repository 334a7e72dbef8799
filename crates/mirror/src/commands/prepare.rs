//! `prepare`: the one thing in a pod that needs root.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};

use crate::cli;

/// The directory cannot be made or given away.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Making it failed.
    #[error("cannot make {}: {source}", path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a link: what it leads to may be anything on the host.
    #[error("{} is a symbolic link; name the directory itself", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// Giving it away failed.
    #[error("cannot give {} to {uid}:{gid}: {source}; this needs root", path.display())]
    Own {
        /// The directory.
        path: PathBuf,
        /// To whom.
        uid: u32,
        /// And which group.
        gid: u32,
        /// Why.
        source: io::Error,
    },
}

/// Makes the directory and gives that directory, not what is in it, to the owner.
pub fn prepare(directory: &Path, owner: cli::Owner) -> Result<(), PrepareError> {
    let cli::Owner { uid, gid } = owner;
    let path = || directory.to_path_buf();
    std::fs::create_dir_all(directory).map_err(|source| PrepareError::Make { path: path(), source })?;
    let meta = directory.symlink_metadata().map_err(|source| PrepareError::Make { path: path(), source })?;
    if meta.file_type().is_symlink() {
        return Err(PrepareError::Link { path: path() });
    }
    if (meta.uid(), meta.gid()) == (uid, gid) {
        // A read-only disk lets nobody say so again, and is to be served all the same.
        return Ok(());
    }
    nix::unistd::chown(directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|error| PrepareError::Own { path: path(), uid, gid, source: error.into() })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use super::*;

    #[test]
    fn makes_what_is_missing_and_gives_only_the_last_away() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("a/b");
        let me = std::fs::metadata(temp.path()).unwrap();
        // Only root can give away.
        let owner = if me.uid() == 0 {
            cli::Owner { uid: 64532, gid: 64532 }
        } else {
            cli::Owner { uid: me.uid(), gid: me.gid() }
        };
        prepare(&directory, owner).unwrap();
        prepare(&directory, owner).unwrap();
        assert_eq!(std::fs::metadata(&directory).unwrap().uid(), owner.uid);
        assert_eq!(std::fs::metadata(temp.path().join("a")).unwrap().uid(), me.uid());
    }

    #[test]
    fn a_link_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        let link = temp.path().join("link");
        symlink(temp.path(), &link).unwrap();
        let error = prepare(&link, cli::Owner { uid: 64532, gid: 64532 }).unwrap_err();
        assert!(matches!(error, PrepareError::Link { .. }), "{error}");
    }
}
