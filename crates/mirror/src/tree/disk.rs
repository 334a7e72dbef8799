//! What is done to the disk, one call each: the steps between which a crash can come.
//!
//! In this crate's unit tests every call first asks [`power`] whether the machine still runs, so that a test can end it
//! before any of them, and lose what had not been synced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

#[cfg(test)]
use power::{Event, tell};

/// Writes a new file.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::Write(path))?;
    let mut file = File::create_new(path)?;
    let (start, rest) = content.split_at(content.len() / 2);
    file.write_all(start)?;
    #[cfg(test)]
    tell(&Event::Write(path))?;
    file.write_all(rest)
}

/// Makes a file's content last.
pub(super) fn sync(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::Sync(path))?;
    File::open(path)?.sync_all()
}

/// Makes the contents of these files of one filesystem last: each by itself, or all of them by one call for the whole
/// filesystem, where that can be relied upon.
pub(super) fn sync_all(files: &[&Path]) -> io::Result<()> {
    match files {
        [first, _, ..] if filesystem::sync_is_complete(first) => {
            #[cfg(test)]
            tell(&Event::SyncFilesystem)?;
            Ok(nix::unistd::syncfs(File::open(first)?)?)
        }
        files => files.iter().try_for_each(|file| sync(file)),
    }
}

/// Gives a file another name, or takes the place of the one that had it.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::Rename(from, to))?;
    fs::rename(from, to)
}

/// Removes a file.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::Remove(path))?;
    fs::remove_file(path)
}

/// Makes the names in a directory last.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::SyncDirectory(path))?;
    File::open(path)?.sync_all()
}

mod filesystem;
#[cfg(test)]
pub(super) mod power;
