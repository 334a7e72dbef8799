//! Reading what stands on a medium that a stranger may have made.
//!
//! A log is served as it is, so nothing but a plain file of the medium may become one: a link would publish whatever it
//! leads to on the machine that reads it, and a pipe would never end.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// Opens a file of a directory by its name in the cache; `None` when there is none.
pub(super) fn open(directory: &Path, name: &str) -> io::Result<Option<File>> {
    let (mut path, mut parts) = (directory.to_owned(), name.split('/').peekable());
    while let Some(part) = parts.next() {
        path.push(part);
        if parts.peek().is_some() {
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => return Err(io::Error::other("it stands behind something that is no directory")),
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }
    if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other("it is no plain file"));
    }
    // As it was a moment ago.
    let file = match File::options().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    Ok(Some(file))
}

/// Reads a file of at most so many bytes.
pub(super) fn read(directory: &Path, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(file) = open(directory, name)? else { return Ok(None) };
    let mut text = Vec::new();
    // One byte more, so that a longer file is refused and not cut.
    file.take(most.saturating_add(1)).read_to_end(&mut text)?;
    if text.len() as u64 > most {
        return Err(too_long(most));
    }
    Ok(Some(text))
}

pub(super) fn too_long(most: u64) -> io::Error {
    io::Error::other(format!("it has more than {most} bytes"))
}

/// The names of what is in a directory of the cache, each behind `inner`; none when it is not there or is a link.
pub(super) fn names(directory: &Path, inner: &str) -> Vec<String> {
    let path = directory.join(inner);
    if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
        return Vec::new();
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.map(|name| format!("{}/{name}", inner.trim_end_matches('/'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_file_of_the_medium_is_read_and_only_to_its_bound() {
        let temp = tempfile::tempdir().unwrap();
        let (medium, outside) = (temp.path().join("medium"), temp.path().join("outside"));
        fs::create_dir_all(medium.join("log/inner")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("a"), "secret").unwrap();
        fs::write(medium.join("log/a"), "12345").unwrap();
        let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, medium.join(at)).unwrap();
        link(&outside.join("a"), "log/link");
        link(&outside, "linked");
        nix::unistd::mkfifo(&medium.join("log/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(read(&medium, "log/a", 5).unwrap().unwrap(), b"12345");
        assert_eq!(read(&medium, "log/a", 4).unwrap_err().to_string(), "it has more than 4 bytes");
        for absent in ["log/b", "no/a"] {
            assert!(read(&medium, absent, 5).unwrap().is_none(), "{absent}");
        }
        for no in ["log/link", "linked/a", "log/pipe", "log/inner", "log/a/b"] {
            assert!(open(&medium, no).is_err(), "{no}");
        }
        assert_eq!(names(&medium, "linked"), Vec::<String>::new());
        assert_eq!(names(&medium, "log").len(), 4);
    }
}
