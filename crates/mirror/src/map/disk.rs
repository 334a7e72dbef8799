//! The copy of the map that survives a restart.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use granary_placement::map::MAX_MAP_BYTES;

/// `None` when there is none yet.
pub(super) fn load(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match File::open(path) {
        Ok(file) => read_bounded(file).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads one byte more than a map may have, so that the reader of the map sees that it is too large.
pub(super) fn read_bounded(file: File) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    file.take(MAX_MAP_BYTES as u64 + 1).read_to_end(&mut json)?;
    Ok(json)
}

/// Replaces the copy; a crash leaves the old one or the new one.
pub(super) fn save(path: &Path, json: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    file.write_all(json)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}
