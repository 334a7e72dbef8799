//! What is done to the disk, one call each: the steps between which a crash can come.
//!
//! In this crate's unit tests every call first asks [`power`] whether the machine still runs, so that a test can end it
//! before any of them, and lose what had not been synced.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[cfg(test)]
use power::{Event, tell};

/// When every NAR file was last changed: the time that Nix gives to all files of its store. Web servers make entity tags
/// of time and size, so the same file has the same tag at every mirror, and a client may go on elsewhere.
pub(super) fn nar_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1)
}

/// Writes a new file.
pub(crate) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::Write(path))?;
    let mut file = File::create_new(path)?;
    let (start, rest) = content.split_at(content.len() / 2);
    file.write_all(start)?;
    #[cfg(test)]
    tell(&Event::Write(path))?;
    file.write_all(rest)
}

/// Writes over parts of a file: what comes where. Nothing of that lasts, nor in an order, before the file is synced.
pub(super) fn overwrite(path: &Path, parts: &[(u64, Vec<u8>)]) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    parts.iter().try_for_each(|(place, content)| {
        #[cfg(test)]
        tell(&Event::Change(path))?;
        file.write_all_at(content, *place)
    })
}

/// Writes at the end of a file, which is made if it is not there.
pub(super) fn append(path: &Path, content: &[u8]) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::Change(path))?;
    File::options().create(true).append(true).open(path)?.write_all(content)
}

/// Gives a NAR file the time that every NAR file has (see [`nar_time`]). It lasts once the file is synced, and nothing
/// relies on it.
pub(super) fn set_nar_time(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(nar_time())
}

/// Gives a file a second name.
pub(super) fn link(file: &Path, name: &Path) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::Link)?;
    fs::hard_link(file, name)
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
    #[cfg(test)]
    let files = power::remembered(files);
    match files {
        [first, _, ..] if one_call_does(first) => {
            #[cfg(test)]
            tell(&Event::SyncFilesystem)?;
            Ok(nix::unistd::syncfs(File::open(first)?)?)
        }
        files => files.iter().try_for_each(|file| sync(file)),
    }
}

/// Whether one call makes everything last on the filesystem where this file is.
pub(super) fn one_call_does(file: &Path) -> bool {
    #[cfg(test)]
    if power::is_foreign() {
        return false;
    }
    filesystem::sync_is_complete(file)
}

/// Gives a file another name, or takes the place of the one that had it.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(test)]
    tell(&Event::Rename(from, to))?;
    fs::rename(from, to)
}

/// Removes a file.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
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

/// Says that more of a file is about to be written, by other means than [`write`].
#[cfg(test)]
pub(crate) fn about_to_write(path: &Path) -> io::Result<()> {
    tell(&Event::Write(path))
}

mod filesystem;
#[cfg(test)]
pub(crate) mod power;
