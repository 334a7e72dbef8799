//! The checksum of a file beside an artifact, kept with the file as an extended attribute, or, where the filesystem has none,
//! as a line of text below `.granary` (see [`lines`]).
//!
//! Nothing that is signed says what a log has to be, and little what a realisation has. So what was written is remembered,
//! and rot is told by it. A copy of the tree that left both behind has none: then a file is what it is when it is first read
//! again.

mod lines;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use granary_nix::Hash;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use sha2::{Digest as _, Sha256};

use super::Layout;
use lines::Lines;

/// The attribute: a hash, as Nix writes it.
const NAME: &str = "user.granary.sha256";
/// More than a hash has.
const LONGEST: usize = 128;
/// Bytes that are read and hashed at once.
const BLOCK: usize = 64 << 10;

/// The checksums that were written for the file `name` of the cache, any of which it may have, the newest last.
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

impl Checksums {
    pub(super) fn new(layout: &Layout) -> Self {
        Self { layout: layout.clone(), lines: Lines::new(layout.checksums()) }
    }

    /// Writes that of the file which is `name` of the cache, or will be. Where that cannot be, the file stays without.
    pub(super) fn write(&self, name: &str, file: &File, checksum: Hash) {
        let text = checksum.to_string();
        if fsetxattr(file, NAME, text.as_bytes(), XattrFlags::empty()).is_ok() {
            return;
        }
        if let Err(error) = self.lines.add(self.layout.directory(), name, checksum) {
            tracing::debug!(%error, name, "the checksum of a file is not kept");
        }
    }

    /// Reads a file that has just been written, and writes its checksum.
    pub(super) fn write_of(&self, name: &str, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        self.write(name, &file, hash(&file)?);
        Ok(())
    }
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
        let layout = Layout::new(directory.path());
        let checksums = Checksums::new(&layout);
        let attribute = |path: &Path| attribute(&File::open(path).unwrap());
        std::fs::write(&path, "a log").unwrap();
        checksums.write_of("b", &path).unwrap();
        if layout.checksums().exists() {
            return println!("skipped: no extended attributes here");
        }
        std::fs::rename(&path, &other).unwrap();
        assert_eq!(attribute(&other), Some(Hash::of(b"a log")));
        std::fs::write(&other, "a lag").unwrap();
        assert_eq!(attribute(&other), Some(Hash::of(b"a log")), "rot does not change it");
        std::fs::write(&path, "a log").unwrap();
        assert_eq!(attribute(&path), None);
    }
}
