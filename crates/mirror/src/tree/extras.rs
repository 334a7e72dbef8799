//! The files beside artifacts: listings, logs, the debug index, realisations and build traces.
//!
//! They come after their artifact and go before it, so that whatever is interrupted leaves a valid cache: at worst some of
//! them are missing, and are had again.

mod fresh;
mod owners;
mod rotten;

use std::collections::HashMap;
use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use granary_nix::{DebugInfo, Extra, ExtraKind, Hash, HashPart, NarInfo, StorePath, listing};

use super::checksum::{Checksums, Naming, Sealed};
use super::durable::{make_lasting, place, rename, sync_all, sync_directory};
use super::{Layout, TempFile, Tree, TreeError, disk, read, write};

use fresh::Fresh;
use owners::Realised;
pub use owners::artifact_named;

/// What the tree keeps in memory about them.
#[derive(Debug)]
pub(super) struct Beside {
    realised: RwLock<Realised>,
    fresh: Fresh,
    checksums: Checksums,
}

impl Beside {
    pub(super) fn load(layout: &Layout) -> Result<Self, TreeError> {
        let realised = RwLock::new(Realised::load(layout)?);
        Ok(Self { realised, fresh: Fresh::default(), checksums: Checksums::new(layout) })
    }

    /// An artifact was published.
    pub(super) fn published(&self, hash: HashPart) {
        self.fresh.add(hash);
    }
}

impl Tree {
    /// Where the file is, or would be.
    #[must_use]
    pub fn extra_path(&self, extra: &Extra) -> PathBuf {
        self.layout.served(&extra.file_name())
    }

    /// Whether the file is there.
    #[must_use]
    pub fn has_extra(&self, extra: &Extra) -> bool {
        self.extra_path(extra).is_file()
    }

    /// Gives a file beside an artifact its name, for good. `artifact` is the one that it belongs to; a log belongs to
    /// whatever comes from its derivation. A file whose artifact is not published is given back, since nothing would ever
    /// remove it.
    pub fn put_extra(
        &self,
        extra: &Extra,
        artifact: Option<&HashPart>,
        file: TempFile,
    ) -> Result<Option<TempFile>, TreeError> {
        let _nothing_leaves = read(&self.gate);
        if !self.has_owner(extra, artifact) {
            return Ok(Some(file));
        }
        let path = self.extra_path(extra);
        if let Some(directory) = path.parent() {
            make_lasting(directory, self.directory())?;
        }
        let sealed = Checksums::seal_written(extra.file_name(), file.path());
        let sealed = [sealed.map_err(TreeError::io("read", file.path()))?];
        disk::sync(file.path()).map_err(TreeError::io("sync", file.path()))?;
        let naming = self.naming(&sealed)?;
        place(file, &path)?;
        naming.done();
        if let Some(artifact) = artifact {
            write(&self.beside.realised).insert(*artifact, extra);
        }
        Ok(None)
    }

    /// The same for many small files of one artifact, with few syncs; those of one directory stand together, and each
    /// directory lasts before the next is begun. How many were written.
    pub fn write_extras(&self, artifact: &HashPart, files: &[(Extra, String)]) -> Result<usize, TreeError> {
        let _nothing_leaves = read(&self.gate);
        if !self.holds(artifact) {
            return Ok(0);
        }
        let put = |(extra, text): &(Extra, String)| {
            let temp = self.scratch.put(text.as_bytes())?;
            let file = fs::File::open(temp.path()).map_err(TreeError::io("open", temp.path()))?;
            Ok((temp, Checksums::seal(extra.file_name(), &file, Hash::of(text.as_bytes()))))
        };
        let put = files.iter().map(put).collect::<Result<Vec<_>, TreeError>>()?;
        let (temps, sealed): (Vec<TempFile>, Vec<Sealed>) = put.into_iter().unzip();
        sync_all(&temps)?;
        let naming = self.naming(&sealed)?;
        let mut open: Option<PathBuf> = None;
        for (temp, (extra, _)) in temps.into_iter().zip(files) {
            let path = self.extra_path(extra);
            let Some(directory) = path.parent() else { continue };
            if open.as_deref() != Some(directory) {
                open.as_deref().map_or(Ok(()), sync_directory)?;
                make_lasting(directory, self.directory())?;
                open = Some(directory.to_owned());
            }
            rename(temp, &path)?;
        }
        open.as_deref().map_or(Ok(()), sync_directory)?;
        naming.done();
        Ok(files.len())
    }

    fn naming<'t>(&'t self, sealed: &'t [Sealed]) -> Result<Naming<'t>, TreeError> {
        self.beside.checksums.naming(sealed).map_err(TreeError::io("change", &self.layout.checksums()))
    }

    /// Whether anything that is published comes from the derivation. In memory.
    #[must_use]
    pub fn has_outputs_of(&self, derivation: &StorePath) -> bool {
        read(&self.index).outputs_of(derivation) > 0
    }

    /// The files that belong to an artifact that leaves and to nothing that stays.
    fn extras_of(&self, info: &NarInfo, leaving: &Leaving<'_>) -> Vec<Extra> {
        let hash = info.store_path.hash_part();
        let mut extras = read(&self.beside.realised).of(&hash);
        if let Some(derivation) = &info.deriver
            && read(&self.index).outputs_of(derivation) <= leaving.outputs_of(derivation)
        {
            extras.extend(Extra::log(derivation.clone()).ok());
        }
        let listing = Extra::Listing(hash);
        let held = read(&self.index).get(&hash);
        if held.is_some_and(|held| read(&self.index).sharing(&held) > leaving.with_nar(&info.url)) {
            // Another artifact with the same NAR has the same debug information.
            extras.push(listing);
            return extras;
        }
        let ours = |id: &granary_nix::BuildId| {
            let text = fs::read(self.extra_path(&Extra::DebugInfo(*id))).unwrap_or_default();
            DebugInfo::parse(&text, id).is_ok_and(|entry| entry.nar == info.url)
        };
        extras.extend(self.build_ids(&listing).into_iter().filter(ours).map(Extra::DebugInfo));
        extras.push(listing);
        extras
    }

    /// Removes the files beside artifacts that leave, for good; these are the narinfos that are published for them. Called
    /// before anything else of them is removed, while nothing comes.
    pub(super) fn remove_extras<'i>(
        &self,
        leaving: impl Iterator<Item = &'i NarInfo> + Clone,
    ) -> Result<(), TreeError> {
        let together = Leaving::count(leaving.clone());
        let mut extras = Vec::new();
        for info in leaving {
            extras.extend(self.extras_of(info, &together));
            write(&self.beside.realised).remove(&info.store_path.hash_part());
        }
        // Listings last: they say what the debug information is.
        let (listings, others): (Vec<Extra>, Vec<Extra>) =
            extras.into_iter().partition(|extra| extra.kind() == ExtraKind::Listing);
        self.remove_files(&others)?;
        self.remove_files(&listings)
    }

    /// Removes those that are there, for good.
    fn remove_files(&self, extras: &[Extra]) -> Result<(), TreeError> {
        let names: Vec<String> = extras.iter().map(Extra::file_name).collect();
        self.beside.checksums.forget(names.iter().map(String::as_str));
        let mut directories: Vec<PathBuf> = Vec::new();
        for extra in extras {
            let path = self.extra_path(extra);
            match disk::remove(&path) {
                Ok(()) => directories.extend(path.parent().map(Path::to_owned)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(TreeError::io("remove", &path)(error)),
            }
        }
        directories.sort_unstable();
        directories.dedup();
        directories.iter().try_for_each(|directory| sync_directory(directory))
    }

    fn has_owner(&self, extra: &Extra, artifact: Option<&HashPart>) -> bool {
        match (extra, artifact) {
            (Extra::Log(derivation), _) => self.has_outputs_of(derivation),
            (_, Some(artifact)) => self.holds(artifact),
            (_, None) => false,
        }
    }
}

/// How many of those that leave have something in common.
#[derive(Default)]
struct Leaving<'i> {
    derivations: HashMap<&'i StorePath, u32>,
    nars: HashMap<&'i str, u32>,
}

impl<'i> Leaving<'i> {
    fn count(all: impl Iterator<Item = &'i NarInfo>) -> Self {
        let mut leaving = Self::default();
        for info in all {
            *leaving.nars.entry(&info.url).or_default() += 1;
            if let Some(derivation) = &info.deriver {
                *leaving.derivations.entry(derivation).or_default() += 1;
            }
        }
        leaving
    }

    fn outputs_of(&self, derivation: &StorePath) -> u32 {
        self.derivations.get(derivation).copied().unwrap_or_default()
    }

    fn with_nar(&self, url: &str) -> u32 {
        self.nars.get(url).copied().unwrap_or_default()
    }
}

/// The text of a listing; `None` when it is not there, cannot be read, or is longer than any.
#[must_use]
pub fn read_listing(path: &Path) -> Option<Vec<u8>> {
    read_bounded(path, listing::MAX_TEXT)
}

/// The bytes of a file that has at most so many.
pub(super) fn read_bounded(path: &Path, most: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let file = fs::File::open(path).ok()?;
    // One byte more, so that a longer file is refused and not cut.
    file.take(most as u64 + 1).read_to_end(&mut text).ok()?;
    (text.len() <= most).then_some(text)
}
