//! The checksum of a file beside an artifact, kept with the file as an extended attribute.
//!
//! Nothing that is signed says what a log has to be, and little what a realisation has. So what was written is remembered,
//! and rot is told by it. A filesystem without such attributes, or a copy of the tree that left them behind, has none: then
//! a file is what it is when it is first read again.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use granary_nix::Hash;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use sha2::{Digest as _, Sha256};

/// The attribute: a hash, as Nix writes it.
const NAME: &str = "user.granary.sha256";
/// More than a hash has.
const LONGEST: usize = 128;
/// Bytes that are read and hashed at once.
const BLOCK: usize = 64 << 10;

/// The checksum that was written with the file.
pub(crate) fn of(file: &File) -> Option<Hash> {
    let mut text = [0; LONGEST];
    let length = fgetxattr(file, NAME, &mut text[..]).ok()?;
    str::from_utf8(text.get(..length)?).ok()?.parse().ok()
}

/// Writes it with the file. Where that cannot be, the file stays without.
pub(crate) fn write(file: &File, checksum: Hash) {
    let _ = fsetxattr(file, NAME, checksum.to_string().as_bytes(), XattrFlags::empty());
}

/// Reads a file that has just been written, and writes its checksum with it.
pub(super) fn write_of(path: &Path) -> io::Result<()> {
    let file = File::open(path)?;
    write(&file, hash(&file)?);
    Ok(())
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
        std::fs::write(&path, "a log").unwrap();
        write_of(&path).unwrap();
        std::fs::rename(&path, &other).unwrap();
        assert_eq!(of(&File::open(&other).unwrap()), Some(Hash::of(b"a log")));
        std::fs::write(&other, "a lag").unwrap();
        assert_eq!(of(&File::open(&other).unwrap()), Some(Hash::of(b"a log")), "rot does not change it");
        std::fs::write(&path, "a log").unwrap();
        assert_eq!(of(&File::open(&path).unwrap()), None);
    }
}
