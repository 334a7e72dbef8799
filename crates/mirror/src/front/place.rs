//! Where nginx's files are when the directory that the configuration says takes nothing in: by default it is in the tree, and
//! a disk that became read-only is still to be served, also after a restart.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use granary_nix::Hash;
use nix::unistd::geteuid;

/// What the directories' names begin with.
const NAME: &str = "granary-front-";
/// Characters of the tree's hash that follow: one machine may have several mirrors.
const HASH: usize = 16;

/// The directory for nginx's files that `configured` should be, and another one when that is on a read-only disk. What else
/// is wrong with it is told by who writes there.
#[must_use]
pub fn place(configured: &Path) -> PathBuf {
    if !is_read_only(configured) {
        return configured.to_owned();
    }
    let Some(other) = elsewhere(configured, &run_directories()) else { return configured.to_owned() };
    tracing::error!(
        configured = %configured.display(), instead = %other.display(),
        "the disk is read-only: nginx's files are elsewhere until the next start"
    );
    other
}

/// Where nginx's files may have been at an earlier start, with a process that still runs.
#[must_use]
pub fn earlier(configured: &Path) -> Vec<PathBuf> {
    let others = run_directories().into_iter().map(|base| base.join(name(configured)));
    [configured.to_owned()].into_iter().chain(others).collect()
}

/// Whether a file can be written there. Nothing stays.
fn is_read_only(directory: &Path) -> bool {
    let path = directory.join(".tried");
    let tried =
        fs::create_dir_all(directory).and_then(|()| File::create(&path)).and_then(|_| fs::remove_file(&path));
    tried.is_err_and(|error| error.kind() == ErrorKind::ReadOnlyFilesystem)
}

/// What is writable while a machine runs: what a service manager gives, the system's, and what everybody has.
fn run_directories() -> Vec<PathBuf> {
    let given = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].into_iter().filter_map(std::env::var_os);
    // systemd separates several by colons.
    let given =
        given.filter_map(|paths| std::env::split_paths(&paths).next()).filter(|path| path.is_absolute());
    given.chain([PathBuf::from("/run"), std::env::temp_dir()]).collect()
}

fn name(configured: &Path) -> String {
    let hash = Hash::of(configured.as_os_str().as_encoded_bytes()).to_nix32();
    format!("{NAME}{}", hash.get(..HASH).unwrap_or_default())
}

/// A directory of ours in the first of `bases` that takes one.
fn elsewhere(configured: &Path, bases: &[PathBuf]) -> Option<PathBuf> {
    let name = name(configured);
    bases.iter().map(|base| base.join(&name)).find(|path| is_ours(path).is_ok_and(|ours| ours))
}

/// Makes the directory, or finds it there; whether it is one that nobody else can write to. nginx's workers have to get
/// through it.
fn is_ours(path: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o711).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    Ok(found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o022 == 0)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_first_place_is_taken_that_is_ours_alone() {
        let temp = tempfile::tempdir().unwrap();
        let base = |name: &str| {
            let base = temp.path().join(name);
            fs::create_dir(&base).unwrap();
            base
        };
        let configured = Path::new("/srv/granary/.granary/front");
        let (open, linked, good) = (base("open"), base("linked"), base("good"));
        // Anybody could have made them.
        let prepared = open.join(name(configured));
        fs::create_dir(&prepared).unwrap();
        fs::set_permissions(&prepared, fs::Permissions::from_mode(0o777)).unwrap();
        symlink(&good, linked.join(name(configured))).unwrap();
        let bases = [temp.path().join("absent"), open, linked, good.clone()];
        let place = elsewhere(configured, &bases).unwrap();
        assert_eq!(place.parent(), Some(&*good));
        assert_eq!(elsewhere(configured, &bases), Some(place.clone()), "the same again");
        assert_ne!(elsewhere(Path::new("/srv/other/.granary/front"), &bases), Some(place));
        assert_eq!(elsewhere(configured, &bases[..3]), None);
    }

    #[test]
    fn a_directory_that_can_be_written_is_where_it_should_be() {
        let temp = tempfile::tempdir().unwrap();
        let front = temp.path().join("front");
        assert_eq!(place(&front), front);
        assert_eq!(fs::read_dir(&front).unwrap().count(), 0);
        assert!(earlier(&front).contains(&front));
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(place(&file), file, "that it is no directory is told by who writes there");
    }
}
