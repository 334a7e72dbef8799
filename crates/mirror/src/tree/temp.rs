//! A file that is being written.

use std::path::{Path, PathBuf};

use super::disk;
use super::partial::Claim;

/// A path below `.granary/tmp`, not yet created. Whatever is there when this is dropped is removed; except for a path below
/// `.granary/partial`, where it stays for the next attempt.
#[derive(Debug)]
pub struct TempFile {
    path: PathBuf,
    kept: Option<Claim>,
}

impl TempFile {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, kept: None }
    }

    pub(super) const fn kept(path: PathBuf, claim: Claim) -> Self {
        Self { path, kept: Some(claim) }
    }

    /// Where to write.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, even where it would stay for the next attempt.
    pub fn discard(mut self) {
        // Before the claim ends, so that nobody begins to go on with it.
        let _ = disk::remove(&self.path);
        self.path = PathBuf::new();
    }

    /// The file has got another name, and is no longer ours to remove.
    pub(super) fn release(mut self) {
        self.path = PathBuf::new();
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if self.path.as_os_str().is_empty() {
            return;
        }
        // Of one that is still empty there is nothing to go on with.
        let empty = || std::fs::metadata(&self.path).is_ok_and(|file| file.len() == 0);
        if self.kept.is_none() || empty() {
            // It may never have been created. What cannot be removed now is removed at the next start.
            let _ = disk::remove(&self.path);
        }
    }
}
