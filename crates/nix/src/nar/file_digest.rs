//! The digest of an archive's one file.

use sha2::{Digest as _, Sha256};

use super::NarEvent;
use crate::hash::Hash;

/// SHA-256 of the contents of an archive that is a single file, which is what flat and text content addresses name.
#[derive(Debug, Default)]
pub struct FileDigest {
    digest: Sha256,
    root: Root,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Root {
    #[default]
    Unknown,
    File,
    Other,
}

impl FileDigest {
    /// Takes note of what the reader tells.
    pub fn event(&mut self, event: &NarEvent<'_>) {
        match (self.root, event) {
            (Root::Unknown, NarEvent::File { executable: false, .. }) => self.root = Root::File,
            (Root::Unknown, _) => self.root = Root::Other,
            (Root::File, NarEvent::Contents(bytes)) => self.digest.update(bytes),
            _ => {}
        }
    }

    /// The digest, or nothing when the archive is a directory, a symlink or an executable: no such content address
    /// names one.
    #[must_use]
    pub fn finish(self) -> Option<Hash> {
        (self.root == Root::File).then(|| Hash::from_bytes(self.digest.finalize().into()))
    }
}
