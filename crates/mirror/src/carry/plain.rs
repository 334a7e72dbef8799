//! A plain binary cache that is being written: a directory that `nix copy --from file://…` reads, with nothing else in it.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use granary_nix::{CacheInfo, Extra, ExtraKind, NarInfo};

use super::CarryError;
use crate::tree::{Contents, Layout, canonical};

/// Where files are written before they get their names.
const SCRATCH: &str = ".granary-export";

/// A plain binary cache, open for writing by this process alone.
#[derive(Debug)]
pub struct Plain {
    layout: Layout,
    scratch: PathBuf,
    next: AtomicU64,
    /// Locked as long as it is open.
    _lock: File,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct PlainTemp(PathBuf);

impl PlainTemp {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PlainTemp {
    fn drop(&mut self) {
        // It may have got another name, or never have been created. What is left is removed at the end.
        let _ = fs::remove_file(&self.0);
    }
}

impl Plain {
    pub(super) fn open(directory: &Path) -> Result<Self, CarryError> {
        let layout = Layout::new(directory);
        if layout.state().exists() {
            return Err(CarryError::MirrorDirectory { path: directory.to_owned() });
        }
        let scratch = directory.join(SCRATCH);
        for needed in [&layout.nars(), &scratch] {
            make(needed)?;
        }
        let lock = lock(directory, &scratch)?;
        // What an earlier export was in the middle of.
        for entry in fs::read_dir(&scratch).map_err(CarryError::target("list", &scratch))? {
            let path = entry.map_err(CarryError::target("list", &scratch))?.path();
            if !path.ends_with("lock") {
                fs::remove_file(&path).map_err(CarryError::target("remove", &path))?;
            }
        }
        let plain = Self { layout, scratch, next: AtomicU64::new(0), _lock: lock };
        plain.cache_info()?;
        Ok(plain)
    }

    pub(super) fn directory(&self) -> &Path {
        self.layout.directory()
    }

    /// Leaves a usable `nix-cache-info` as it is.
    fn cache_info(&self) -> Result<(), CarryError> {
        let path = self.layout.cache_info();
        match fs::read(&path) {
            Ok(text) => CacheInfo::parse(&text)
                .map(drop)
                .map_err(|error| CarryError::Unusable { path, problem: error.to_string() }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let info = CacheInfo { want_mass_query: true, priority: Some(30), ..CacheInfo::default() };
                self.write(&path, info.to_text().as_bytes())
            }
            Err(error) => Err(CarryError::target("read", &path)(error)),
        }
    }

    pub(super) fn temp(&self) -> PlainTemp {
        PlainTemp(self.scratch.join(self.next.fetch_add(1, Ordering::Relaxed).to_string()))
    }

    /// The NAR file gets its name, and then the narinfo is written: each step lasts before the next begins.
    pub(super) fn publish(
        &self,
        info: &NarInfo,
        contents: &Contents,
        nar: &PlainTemp,
    ) -> Result<(), CarryError> {
        let info = canonical(info, Some(contents));
        place(nar, &self.layout.served(&info.url))?;
        self.write(&self.layout.narinfo(&info.store_path.hash_part()), info.to_text().as_bytes())
    }

    /// Gives a file beside an artifact its name. A realisation gets two: Nix 2.34 looks for `%21` in the name of a file on a
    /// disk, and everybody else for `!`.
    pub(super) fn put_beside(&self, extra: &Extra, file: &PlainTemp) -> Result<(), CarryError> {
        let path = self.layout.served(&extra.file_name());
        if let Some(parent) = path.parent() {
            make(parent)?;
        }
        if extra.kind() == ExtraKind::Realisation {
            let (again, other) = (self.temp(), self.layout.served(&extra.file_name().replace('!', "%21")));
            fs::copy(file.path(), again.path()).map_err(CarryError::target("write", &other))?;
            // First, so that whoever finds the other name finds both.
            place(&again, &other)?;
        }
        place(file, &path)
    }

    /// Writes small files.
    pub(super) fn write_beside(&self, files: &[(Extra, String)]) -> Result<(), CarryError> {
        for (extra, text) in files {
            let file = self.temp();
            fs::write(file.path(), text).map_err(CarryError::target("write", file.path()))?;
            self.put_beside(extra, &file)?;
        }
        Ok(())
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), CarryError> {
        let temp = self.temp();
        fs::write(temp.path(), content).map_err(CarryError::target("write", path))?;
        place(&temp, path)
    }

    /// Removes what only the work needed, and has the kernel write everything to the medium, so that it can be pulled out.
    pub(super) fn finish(&self) -> Result<(), CarryError> {
        fs::remove_dir_all(&self.scratch).map_err(CarryError::target("remove", &self.scratch))?;
        let directory = self.directory();
        let failed = || CarryError::target("write to the medium", directory);
        let open = File::open(directory).map_err(failed())?;
        nix::unistd::syncfs(&open).map_err(|error| failed()(error.into()))
    }
}

fn make(directory: &Path) -> Result<(), CarryError> {
    fs::create_dir_all(directory).map_err(CarryError::target("create the directory", directory))
}

fn lock(directory: &Path, scratch: &Path) -> Result<File, CarryError> {
    let path = scratch.join("lock");
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(CarryError::target("open", &path))?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Err(CarryError::InUse { path: directory.to_owned() }),
        Err(TryLockError::Error(error)) if !is_unsupported(&error) => {
            Err(CarryError::target("lock", &path)(error))
        }
        _ => Ok(file),
    }
}

/// Makes a written file last, and gives it its name for good.
fn place(temp: &PlainTemp, target: &Path) -> Result<(), CarryError> {
    let sync = File::open(temp.path()).and_then(|file| file.sync_all());
    sync.map_err(CarryError::target("write", temp.path()))?;
    fs::rename(temp.path(), target).map_err(CarryError::target("rename to", target))?;
    target.parent().map_or(Ok(()), sync_directory)
}

/// Some filesystems of sticks cannot do this for a single directory; the whole filesystem is synced at the end.
fn sync_directory(path: &Path) -> Result<(), CarryError> {
    match File::open(path).and_then(|directory| directory.sync_all()) {
        Err(error) if !is_unsupported(&error) => Err(CarryError::target("sync", path)(error)),
        _ => Ok(()),
    }
}

/// Whether the filesystem does not know the operation at all.
fn is_unsupported(error: &io::Error) -> bool {
    use nix::libc::{EINVAL, ENOLCK, ENOSYS, ENOTTY, EOPNOTSUPP};
    matches!(error.raw_os_error(), Some(EINVAL | ENOLCK | ENOSYS | ENOTTY | EOPNOTSUPP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_export_at_a_time_and_nothing_is_left_behind() {
        let temp = tempfile::tempdir().unwrap();
        let directory = temp.path().join("stick");
        fs::create_dir_all(directory.join(SCRATCH)).unwrap();
        fs::write(directory.join(SCRATCH).join("7"), "half").unwrap();
        let plain = Plain::open(&directory).unwrap();
        assert!(matches!(Plain::open(&directory).unwrap_err(), CarryError::InUse { .. }));
        assert!(!directory.join(SCRATCH).join("7").exists());
        plain.finish().unwrap();
        let names: Vec<_> =
            fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nar and nix-cache-info: {names:?}");
    }

    #[test]
    fn a_foreign_cache_and_a_mirrors_directory_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join("nix-cache-info"), "StoreDir: /gnu/store\n").unwrap();
        assert!(matches!(Plain::open(temp.path()).unwrap_err(), CarryError::Unusable { .. }));
        fs::create_dir(temp.path().join(".granary")).unwrap();
        assert!(matches!(Plain::open(temp.path()).unwrap_err(), CarryError::MirrorDirectory { .. }));
    }

    #[test]
    fn only_an_unknown_operation_is_forgiven() {
        assert!(is_unsupported(&io::Error::from_raw_os_error(nix::libc::EINVAL)));
        assert!(!is_unsupported(&io::Error::from_raw_os_error(nix::libc::EIO)));
    }
}
