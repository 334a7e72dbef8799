//! nginx's record of what clients had: a line each, written in blocks, read and emptied by the agent. It is bounded, and
//! losing a part of it is harmless.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// The most that is read at once, from the end.
const MOST_READ: u64 = 16 << 20;
/// The most that is left on disk while no agent reads it.
const MOST_KEPT: u64 = 64 << 20;

/// Where it is, by the directory of nginx's files.
#[must_use]
pub fn record_path(directory: &Path) -> PathBuf {
    directory.join("access.log")
}

/// Takes what was written since the last call. nginx appends, so an emptied file goes on at its start.
pub fn take_record(directory: &Path) -> io::Result<String> {
    let mut file = match File::options().read(true).write(true).open(record_path(directory)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        file => file?,
    };
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(String::new());
    }
    file.seek(SeekFrom::Start(length.saturating_sub(MOST_READ)))?;
    let mut bytes = Vec::new();
    (&file).take(MOST_READ).read_to_end(&mut bytes)?;
    file.set_len(0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Empties it when nobody has read it for long.
pub(super) fn bound_record(directory: &Path) {
    let path = record_path(directory);
    if std::fs::metadata(&path).is_ok_and(|file| file.len() > MOST_KEPT)
        && let Err(error) = File::options().write(true).open(&path).and_then(|file| file.set_len(0))
    {
        tracing::warn!(path = %path.display(), %error, "the record of what clients had cannot be emptied");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_taken_is_gone_and_the_file_goes_on() {
        let temp = tempfile::tempdir().unwrap();
        assert_eq!(take_record(temp.path()).unwrap(), "");
        let mut nginx = File::options().append(true).create(true).open(record_path(temp.path())).unwrap();
        nginx.write_all(b"a\nb\n").unwrap();
        assert_eq!(take_record(temp.path()).unwrap(), "a\nb\n");
        assert_eq!(take_record(temp.path()).unwrap(), "");
        nginx.write_all(b"c\n").unwrap();
        assert_eq!(take_record(temp.path()).unwrap(), "c\n");
    }

    #[test]
    fn it_is_bounded_with_and_without_a_reader() {
        let temp = tempfile::tempdir().unwrap();
        let file = File::create(record_path(temp.path())).unwrap();
        file.set_len(MOST_KEPT).unwrap();
        bound_record(temp.path());
        assert_eq!(file.metadata().unwrap().len(), MOST_KEPT);
        assert_eq!(take_record(temp.path()).unwrap().len() as u64, MOST_READ);
        file.set_len(MOST_KEPT + 1).unwrap();
        bound_record(temp.path());
        assert_eq!(file.metadata().unwrap().len(), 0);
        bound_record(&temp.path().join("nowhere"));
    }
}
