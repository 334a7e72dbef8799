//! Files that appear whole or not at all, and stay.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use granary_nix::{NarInfo, narinfo};

use super::{TempFile, TreeError, disk};

/// Files that are written and synced at once.
const AT_ONCE: usize = 1024;

/// The directory for what is being written.
#[derive(Debug)]
pub(super) struct Scratch {
    directory: PathBuf,
    /// The first name of this process: all others were left by processes that ended in the middle.
    first: u64,
    next: AtomicU64,
    /// Whether the disk took something not in because it is read-only.
    refused: AtomicBool,
}

impl Scratch {
    /// Makes the directory empty, if the disk takes anything in.
    pub(super) fn prepare(directory: PathBuf) -> Result<Arc<Self>, TreeError> {
        let names = fs::read_dir(&directory).into_iter().flatten();
        let numbers = names.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u64>().ok());
        let first = numbers.max().map_or(0, |last| last.saturating_add(1));
        let (next, refused) = (AtomicU64::new(first), AtomicBool::new(false));
        let scratch = Arc::new(Self { directory, first, next, refused });
        TreeError::or_later(scratch.empty())?;
        Ok(scratch)
    }

    /// Removes what other processes left. What this one writes stays.
    pub(super) fn empty(&self) -> Result<(), TreeError> {
        make_directory(&self.directory)?;
        for entry in fs::read_dir(&self.directory).map_err(TreeError::io("list", &self.directory))? {
            let entry = entry.map_err(TreeError::io("list", &self.directory))?;
            let (name, path) = (entry.file_name(), entry.path());
            if name.to_str().and_then(|name| name.parse::<u64>().ok()).is_some_and(|name| name >= self.first)
            {
                continue;
            }
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(TreeError::io("remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Writes an empty file and removes it, and fails when that does because the disk is read-only. Nothing else tells:
    /// after an error ext4 takes nothing in, and its mount looks as before.
    pub(super) fn try_out(self: &Arc<Self>) -> Result<(), TreeError> {
        let file = self.file();
        let tried = File::create_new(file.path()).and_then(|_| fs::remove_file(file.path()));
        let tried = tried.map_err(TreeError::io("write", file.path()));
        file.release();
        let refused = tried.as_ref().is_err_and(TreeError::is_read_only);
        self.refused.store(refused, Ordering::Relaxed);
        // Any other trouble is for those to tell who write something.
        if refused { tried } else { Ok(()) }
    }

    /// Whether something was not taken in since it was last tried out.
    pub(super) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// A name that nobody else uses. The tree's lock makes us the only writer.
    pub(super) fn file(self: &Arc<Self>) -> TempFile {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        TempFile::new(self.directory.join(number.to_string()))
    }

    /// Puts `content` at `target`, which then has it for good.
    pub(super) fn write(self: &Arc<Self>, target: &Path, content: &[u8]) -> Result<(), TreeError> {
        let temp = self.put(content)?;
        disk::sync(temp.path()).map_err(TreeError::io("sync", temp.path()))?;
        place(temp, target)
    }

    /// A new file with this content, which is not synced.
    pub(super) fn put(self: &Arc<Self>, content: &[u8]) -> Result<TempFile, TreeError> {
        let temp = self.file();
        let written = disk::write(temp.path(), content).map_err(TreeError::io("write", temp.path()));
        if written.as_ref().is_err_and(TreeError::is_read_only) {
            self.refused.store(true, Ordering::Relaxed);
        }
        written.map(|()| temp)
    }

    /// Writes files and gives them their names in `directory`, in their order and for good, with few syncs however many they
    /// are.
    pub(super) fn place_all(
        self: &Arc<Self>,
        directory: &Path,
        files: impl IntoIterator<Item = (PathBuf, impl AsRef<[u8]>)>,
    ) -> Result<(), TreeError> {
        let put = |(target, content): (PathBuf, _)| Ok((self.put(AsRef::<[u8]>::as_ref(&content))?, target));
        let files: Vec<(TempFile, PathBuf)> = files.into_iter().map(put).collect::<Result<_, TreeError>>()?;
        sync_all(files.iter().map(|(temp, _)| temp))?;
        files.into_iter().try_for_each(|(temp, target)| rename(temp, &target))?;
        sync_directory(directory)
    }

    /// Gives a synced file a second name, which lasts only once its directory is synced. Where the filesystem knows no
    /// second names, `content` is written.
    pub(super) fn name_again(
        self: &Arc<Self>,
        file: &Path,
        target: &Path,
        content: impl FnOnce() -> Vec<u8>,
    ) -> Result<(), TreeError> {
        let temp = self.file();
        match disk::link(file, temp.path()) {
            Ok(()) => rename(temp, target),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::Unsupported | ErrorKind::PermissionDenied | ErrorKind::TooManyLinks
                ) =>
            {
                self.write(target, &content())
            }
            Err(error) => Err(TreeError::io("link to", target)(error)),
        }
    }
}

/// Does something with all of these, with so many at once that the files for them fit into memory and cost few syncs.
pub(super) fn some_at_once<T>(
    all: impl IntoIterator<Item = T>,
    mut work: impl FnMut(&[T]) -> Result<(), TreeError>,
) -> Result<(), TreeError> {
    let mut all = all.into_iter();
    loop {
        let some: Vec<T> = all.by_ref().take(AT_ONCE).collect();
        if some.is_empty() {
            return Ok(());
        }
        work(&some)?;
    }
}

/// Makes the contents of several files of this tree last.
pub(super) fn sync_all<'t>(temps: impl IntoIterator<Item = &'t TempFile>) -> Result<(), TreeError> {
    let paths: Vec<&Path> = temps.into_iter().map(TempFile::path).collect();
    let Some(first) = paths.first() else { return Ok(()) };
    disk::sync_all(&paths).map_err(TreeError::io("sync, with others,", first))
}

/// Gives a file that is already synced its name, for good.
pub(super) fn place(temp: TempFile, target: &Path) -> Result<(), TreeError> {
    rename(temp, target)?;
    target.parent().map_or(Ok(()), sync_directory)
}

/// Gives a file that is already synced its name, which lasts only once the directory is synced.
pub(super) fn rename(temp: TempFile, target: &Path) -> Result<(), TreeError> {
    disk::rename(temp.path(), target).map_err(TreeError::io("rename to", target))?;
    temp.release();
    Ok(())
}

/// Removes a file, or finds that it is not there.
pub(super) fn remove_if_there(path: &Path) -> Result<(), TreeError> {
    match disk::remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(TreeError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Makes a directory and its parents, or finds them there.
pub(super) fn make_directory(path: &Path) -> Result<(), TreeError> {
    fs::create_dir_all(path).map_err(TreeError::io("create the directory", path))
}

/// Makes a directory of the tree at `root`, or finds it there: its name, and its parents', then last.
pub(super) fn make_lasting(directory: &Path, root: &Path) -> Result<(), TreeError> {
    if directory.is_dir() {
        return Ok(());
    }
    make_directory(directory)?;
    let parents = directory.ancestors().skip(1).take_while(|parent| parent.starts_with(root));
    parents.map(Path::to_owned).try_for_each(|parent| sync_directory(&parent))
}

/// Makes names in the directory last.
pub(super) fn sync_directory(path: &Path) -> Result<(), TreeError> {
    disk::sync_directory(path).map_err(TreeError::io("sync", path))
}

/// Reads a narinfo; `None` when it is not there, cannot be read, or is none.
pub(super) fn read_narinfo(path: &Path) -> Option<NarInfo> {
    let mut text = Vec::new();
    // One byte more than a narinfo may have, so that a longer file is refused and not cut.
    File::open(path).and_then(|file| file.take(narinfo::MAX_TEXT as u64 + 1).read_to_end(&mut text)).ok()?;
    NarInfo::parse(&text).ok()
}
