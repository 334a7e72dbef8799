//! The checksum of a file beside an artifact, kept with the file as an extended attribute, or, where the filesystem has none,
//! as a line of text below `.granary` (see [`lines`]).
//!
//! Nothing that is signed says what a log has to be, and little what a realisation has. So what was written is remembered,
//! and rot is told by it. A copy of the tree that left both behind has none: then a file is what it is when it is first read
//! again.

mod lines;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use granary_nix::Hash;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use sha2::{Digest as _, Sha256};

use super::Layout;
#[cfg(test)]
use super::disk;
use lines::{Lines, Writer};

/// The attribute: a hash, as Nix writes it.
const NAME: &str = "user.granary.sha256";
/// More than a hash has.
const LONGEST: usize = 128;
/// Bytes that are read and hashed at once.
const BLOCK: usize = 64 << 10;

/// The checksums that were written for the file `name` of the cache, any of which it may have, the newest last. Mostly one.
pub(crate) fn of(layout: &Layout, name: &str, file: &File) -> Vec<Hash> {
    attribute(file).map_or_else(|| lines::of(&layout.checksums(), name), |hash| vec![hash])
}

fn attribute(file: &File) -> Option<Hash> {
    let mut text = [0; LONGEST];
    let length = fgetxattr(file, NAME, &mut text[..]).ok()?;
    str::from_utf8(text.get(..length)?).ok()?.parse().ok()
}

/// Who writes them.
#[derive(Debug)]
pub(super) struct Checksums {
    layout: Layout,
    lines: Lines,
}

/// The checksum of a file that is about to get its name.
#[derive(Debug)]
pub(super) struct Sealed {
    /// In the cache.
    name: String,
    checksum: Hash,
    /// Whether the file itself has it.
    is_kept: bool,
}

/// The time in which files get their names. As long as lines have to be written, nobody else writes any.
#[derive(Debug)]
pub(super) struct Naming<'c> {
    checksums: &'c Checksums,
    sealed: &'c [Sealed],
    writer: Option<Writer<'c>>,
}

impl Checksums {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { layout: layout.clone(), lines: Lines::new(layout.checksums()) }
    }

    /// Writes that of a file which will be `name` of the cache, before it is.
    pub(super) fn seal(name: String, file: &File, checksum: Hash) -> Sealed {
        Sealed { name, checksum, is_kept: keep(file, checksum) }
    }

    /// The same for a file that has just been written, which is read.
    pub(super) fn seal_written(name: String, path: &Path) -> io::Result<Sealed> {
        let file = File::open(path)?;
        let checksum = hash(&file)?;
        Ok(Self::seal(name, &file, checksum))
    }

    /// Called right before these files get their names, which nothing may get when this fails: what was there before would
    /// be what is looked for.
    pub(super) fn naming<'c>(&'c self, sealed: &'c [Sealed]) -> io::Result<Naming<'c>> {
        let writer = self.lines.writer();
        writer.forget(sealed.iter().map(|sealed| sealed.name.as_str()))?;
        let writer = sealed.iter().any(|sealed| !sealed.is_kept).then_some(writer);
        Ok(Naming { checksums: self, sealed, writer })
    }

    /// Called before files are removed. What cannot be forgotten now is when another one gets the name.
    pub(super) fn forget<'n>(&self, names: impl IntoIterator<Item = &'n str>) {
        if let Err(error) = self.lines.writer().forget(names) {
            tracing::debug!(%error, "the checksum of a file that goes is not forgotten");
        }
    }

    /// Writes that of `file`, which was found under `name` without one, unless another file has the name by now.
    pub(super) fn add(&self, name: &str, file: &File, checksum: Hash) {
        if keep(file, checksum) {
            return;
        }
        let mut writer = self.lines.writer();
        let is_there = fs::metadata(self.layout.served(name)).and_then(|there| {
            file.metadata().map(|ours| (there.dev(), there.ino()) == (ours.dev(), ours.ino()))
        });
        if is_there.unwrap_or_default() {
            self.add_line(&mut writer, name, checksum);
        }
    }

    /// Where that cannot be, the file stays without.
    fn add_line(&self, writer: &mut Writer<'_>, name: &str, checksum: Hash) {
        if let Err(error) = writer.add(self.layout.directory(), name, checksum) {
            tracing::debug!(%error, name, "the checksum of a file is not kept");
        }
    }
}

impl Naming<'_> {
    /// The files have their names.
    pub(super) fn done(mut self) {
        let Some(writer) = &mut self.writer else { return };
        for Sealed { name, checksum, .. } in self.sealed.iter().filter(|sealed| !sealed.is_kept) {
            self.checksums.add_line(writer, name, *checksum);
        }
    }
}

/// Keeps it with the file, if the filesystem can.
fn keep(file: &File, checksum: Hash) -> bool {
    #[cfg(test)]
    if !disk::power::has_attributes() {
        return false;
    }
    fsetxattr(file, NAME, checksum.to_string().as_bytes(), XattrFlags::empty()).is_ok()
}

/// The hash of everything that there is to read.
pub(crate) fn hash(mut from: impl Read) -> io::Result<Hash> {
    let (mut hasher, mut block) = (Sha256::new(), vec![0; BLOCK]);
    loop {
        match from.read(&mut block) {
            Ok(0) => return Ok(Hash::from_bytes(hasher.finalize().into())),
            Ok(length) => hasher.update(&block[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_with_the_file_and_another_file_under_the_name_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("a"), directory.path().join("b"));
        let attribute = |path: &Path| attribute(&File::open(path).unwrap());
        fs::write(&path, "a log").unwrap();
        if !Checksums::seal_written("b".into(), &path).unwrap().is_kept {
            return println!("skipped: no extended attributes here");
        }
        fs::rename(&path, &other).unwrap();
        assert_eq!(attribute(&other), Some(Hash::of(b"a log")));
        fs::write(&other, "a lag").unwrap();
        assert_eq!(attribute(&other), Some(Hash::of(b"a log")), "rot does not change it");
        fs::write(&path, "a log").unwrap();
        assert_eq!(attribute(&path), None);
    }
}
