//! Where artifacts go.

use std::fs::File;
use std::path::Path;

use granary_fetch::{Expected, Verified};
use granary_nix::{Extra, HashPart, NarInfo, StorePath, Trust};

use super::CarryError;
use super::origin::{nar_path, read_narinfo};
use super::plain::{Plain, PlainTemp};
use crate::tree::{Contents, TempFile, Tree};

/// Where artifacts go.
#[derive(Debug)]
pub enum Target {
    /// A plain binary cache.
    Plain(Plain),
    /// A mirror's tree.
    Tree(Box<Tree>),
}

/// A file that is being written; removed with its value unless it was published.
#[derive(Debug)]
pub(super) enum Temp {
    Plain(PlainTemp),
    Tree(TempFile),
}

impl Temp {
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Plain(temp) => temp.path(),
            Self::Tree(temp) => temp.path(),
        }
    }
}

impl Target {
    /// A plain binary cache at `directory`, which is made when it is not there.
    pub fn plain(directory: &Path) -> Result<Self, CarryError> {
        Plain::open(directory).map(Self::Plain)
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match self {
            Self::Plain(plain) => plain.directory(),
            Self::Tree(tree) => tree.directory(),
        }
    }

    /// Whether it has the same artifact already, whole and right: its narinfo meets `trust` and its NAR file,
    /// which is read, is what that says.
    pub(super) fn has(&self, info: &NarInfo, trust: &Trust) -> bool {
        let Ok(Some(here)) = read_narinfo(self.directory(), &info.store_path.hash_part(), trust) else {
            return false;
        };
        let whole = || {
            let nar = nar_path(self.directory(), &here).ok()?;
            Expected::from(&here).check(File::open(nar).ok()?).ok()?.ok()
        };
        let same = here.fingerprint() == info.fingerprint();
        // What the narinfo does not state cannot be relied on by those who only look at sizes.
        let stated = here.file_hash.is_some() && here.file_size.is_some();
        let right = same && stated && whole().is_some();
        if let Self::Tree(tree) = self {
            if right {
                return tree.holds(&info.store_path.hash_part());
            }
            tree.forget(&info.store_path.hash_part());
        }
        right
    }

    /// Whether it has this path from elsewhere, so that what references it may come in. The NAR file's size is looked at,
    /// and its bytes are not.
    pub(super) fn offers(&self, path: &StorePath, trust: &Trust) -> bool {
        let hash = path.hash_part();
        let here = read_narinfo(self.directory(), &hash, trust).ok().flatten();
        let Some(here) = here.filter(|here| here.store_path == *path) else { return false };
        let size = nar_path(self.directory(), &here).ok().and_then(|nar| std::fs::metadata(nar).ok());
        size.is_some_and(|file| here.file_size.is_none_or(|size| size == file.len()))
    }

    pub(super) fn temp(&self) -> Temp {
        match self {
            Self::Plain(plain) => Temp::Plain(plain.temp()),
            Self::Tree(tree) => Temp::Tree(tree.temp()),
        }
    }

    /// Makes a verified artifact visible: the NAR file, then the narinfo, each for good.
    pub(super) fn publish(&self, info: &NarInfo, verified: &Verified, nar: Temp) -> Result<(), CarryError> {
        let contents = Contents { file_hash: verified.file_hash, file_size: verified.file_size };
        match (self, nar) {
            (Self::Plain(plain), Temp::Plain(nar)) => plain.publish(info, &contents, &nar),
            (Self::Tree(tree), Temp::Tree(nar)) => {
                // Before it is visible, so that no retention takes it in between.
                tree.keep(&info.store_path.hash_part(), "import")?;
                Ok(tree.publish(info, &contents, nar)?)
            }
            (_, nar) => Err(foreign(&nar)),
        }
    }

    /// Gives a checked file beside an artifact its name, for good. `artifact` is the one that it belongs to; a log belongs to
    /// whatever comes from its derivation. Whether anything of the target has it.
    pub(super) fn put_beside(
        &self,
        extra: &Extra,
        artifact: Option<&HashPart>,
        file: Temp,
    ) -> Result<bool, CarryError> {
        match (self, file) {
            (Self::Plain(plain), Temp::Plain(file)) => plain.put_beside(extra, &file).map(|()| true),
            (Self::Tree(tree), Temp::Tree(file)) => Ok(tree.put_extra(extra, artifact, file)?.is_none()),
            (_, file) => Err(foreign(&file)),
        }
    }

    /// The same for small files that were made from one artifact. How many were written.
    pub(super) fn write_beside(
        &self,
        artifact: &HashPart,
        files: &[(Extra, String)],
    ) -> Result<u64, CarryError> {
        match self {
            Self::Plain(plain) => plain.write_beside(files).map(|()| files.len() as u64),
            Self::Tree(tree) => Ok(tree.write_extras(artifact, files)? as u64),
        }
    }

    /// Writes everything to the medium, and removes what only the work needed.
    pub(super) fn finish(&self) -> Result<(), CarryError> {
        match self {
            Self::Plain(plain) => plain.finish(),
            Self::Tree(_) => Ok(()),
        }
    }
}

fn foreign(file: &Temp) -> CarryError {
    CarryError::Unusable { path: file.path().to_owned(), problem: "made for another target".into() }
}
