//! Files that the disk does not give back: those few are rot, and as good as not there; of many it is the disk that fails.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;

use super::TreeError;

/// With more of them something else is wrong than single files: a cable, a controller, the whole disk.
const MOST: usize = 256;

/// Counts the files that cannot be read.
#[derive(Debug, Default)]
pub(super) struct Unreadable(AtomicUsize);

impl Unreadable {
    /// What could be read of a file. `None`: nothing, and it is told; it counts as absent. Errors of the machine rather than
    /// the file are errors, and so is one file too many.
    pub(super) fn as_absent<T>(&self, read: io::Result<T>, path: &Path) -> Result<Option<T>, TreeError> {
        match read {
            Err(error) if is_of_the_file(&error) && self.0.fetch_add(1, Ordering::Relaxed) < MOST => {
                tracing::error!(path = %path.display(), %error, "a file cannot be read; it counts as absent");
                Ok(None)
            }
            read => read.map(Some).map_err(TreeError::io("read", path)),
        }
    }
}

/// Whether it is this file that cannot be read: its sectors, or what the filesystem says of it.
fn is_of_the_file(error: &io::Error) -> bool {
    let errors =
        [Errno::EIO, Errno::EUCLEAN, Errno::EBADMSG, Errno::ENODATA, Errno::EREMOTEIO, Errno::EISDIR];
    error.raw_os_error().is_some_and(|error| errors.contains(&Errno::from_raw(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_rot_and_many_are_a_disk() {
        let (unreadable, path) = (Unreadable::default(), Path::new("/tree/x.narinfo"));
        let read = |error: Errno| unreadable.as_absent(Err::<(), _>(error.into()), path);
        for _ in 0..MOST {
            assert!(read(Errno::EIO).unwrap().is_none());
        }
        assert!(read(Errno::EIO).unwrap_err().to_string().contains("/tree/x.narinfo"));
        assert_eq!(unreadable.as_absent(Ok(7), path).unwrap(), Some(7));
        let other = Unreadable::default().as_absent(Err::<(), _>(Errno::EMFILE.into()), path);
        assert!(other.is_err(), "too many open files say nothing about this one");
    }
}
