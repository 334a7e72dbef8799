//! NAR files that came in part, kept so that the next attempt, be it by another process, asks only for the rest.
//!
//! What is in such a file is not trusted: the hashes of the whole decide, and when they do not hold the file is fetched from
//! its start. So nothing here has to survive a power cut in good order.
//!
//! How long nobody has gone on with one is counted ([`crate::counted`]) and kept as the file's time, after 1970: a clock that jumps
//! throws away nothing.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use granary_nix::Hash;

use super::durable::make_directory;
use super::{TempFile, Tree, TreeError, disk};
use crate::counted::{keep_age, kept_age};

/// Most files that are kept.
const MOST: usize = 64;
/// Most bytes that are kept.
const MOST_BYTES: u64 = 32 << 30;
/// How long a file is kept that nobody goes on with, in time that is counted.
const LONGEST: Duration = Duration::from_hours(7 * 24);
/// The greatest age that is told from the time of a clock.
const OLDEST: Duration = Duration::from_hours(8 * 24);

/// The directory for them.
#[derive(Debug)]
pub(super) struct Partials {
    directory: PathBuf,
    /// The names of those that are being written to.
    claimed: Mutex<HashSet<String>>,
}

/// The right to write to one of them, as long as this lives.
#[derive(Debug)]
pub(super) struct Claim {
    partials: Arc<Partials>,
    name: String,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    name: String,
    bytes: u64,
    /// How long nobody has gone on with it.
    age: Duration,
}

impl Partials {
    /// Makes the directory and removes what is too old or too much.
    pub(super) fn prepare(directory: PathBuf) -> Result<Arc<Self>, TreeError> {
        make_directory(&directory)?;
        let partials = Self { directory, claimed: Mutex::default() };
        partials.tidy();
        Ok(Arc::new(partials))
    }

    fn claim(self: &Arc<Self>, name: String) -> Option<Claim> {
        let mut claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
        claimed.insert(name.clone()).then(|| Claim { partials: Arc::clone(self), name })
    }

    /// Removes what is too old or too much. That it fails costs only room on the disk, which the next time is tried again.
    fn tidy(&self) {
        let found = match self.found() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(path = %self.directory.display(), %error, "cannot list what came in part");
                return;
            }
        };
        let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for name in spare(found, &claimed) {
            let path = self.directory.join(name);
            match disk::remove(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "cannot remove what came in part long ago");
                }
                _ => {}
            }
        }
    }

    /// Time has passed. What cannot be done now costs only room on the disk.
    pub(super) fn grow_older(&self, by: Duration) {
        for Found { name, .. } in self.found().unwrap_or_default() {
            // Nobody begins to go on with this one meanwhile; nobody waits for all of them.
            let claimed = self.claimed.lock().unwrap_or_else(PoisonError::into_inner);
            if claimed.contains(&name) {
                continue;
            }
            let path = self.directory.join(&name);
            // As it is by now: somebody may have gone on with it since they were listed.
            let age = kept_age(fs::metadata(&path).and_then(|meta| meta.modified()), OLDEST);
            match keep_age(&path, age.saturating_add(by).min(OLDEST)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::debug!(%error, name, "how long nobody has gone on with it is not kept");
                }
                _ => {}
            }
        }
        self.tidy();
    }

    fn found(&self) -> std::io::Result<Vec<Found>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            // The time at which it was written makes it young: only what was counted is an age.
            let age = kept_age(meta.modified(), OLDEST);
            let name = entry.file_name().to_string_lossy().into_owned();
            found.push(Found { name, bytes: meta.len(), age });
        }
        Ok(found)
    }
}

/// The names of the files that are not kept: the oldest of too many.
fn spare(mut found: Vec<Found>, claimed: &HashSet<String>) -> Vec<String> {
    found.retain(|file| !claimed.contains(&file.name));
    found.sort_by(|one, other| (one.age, &one.name).cmp(&(other.age, &other.name)));
    let (mut count, mut bytes) = (0, 0_u64);
    let is_spare = |file: &Found| {
        count += 1;
        bytes = bytes.saturating_add(file.bytes);
        count > MOST || bytes > MOST_BYTES || file.age > LONGEST
    };
    let mut is_spare = is_spare;
    found.into_iter().filter(|file| is_spare(file)).map(|file| file.name).collect()
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Whatever the clock says: it was gone on with just now. It may not be there, or be whole and have another name.
        let _ = keep_age(&self.partials.directory.join(&self.name), Duration::ZERO);
        self.partials.claimed.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl Tree {
    /// Removes what came in part and is not being gone on with, but for what came of the file with this key: how many bytes.
    /// Room for something whole is worth more.
    pub fn give_up_partials(&self, but: Option<&Hash>) -> u64 {
        let mut kept = self.partials.claimed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.extend(but.map(Hash::to_nix32));
        let found = self.partials.found().unwrap_or_default();
        let idle = found.into_iter().filter(|file| !kept.contains(&file.name));
        let gone = idle.filter(|file| disk::remove(&self.partials.directory.join(&file.name)).is_ok());
        gone.map(|file| file.bytes).sum()
    }

    /// How many bytes came of a file that nobody is going on with. Asks the filesystem.
    #[must_use]
    pub fn partial_bytes(&self, key: &Hash) -> u64 {
        let name = key.to_nix32();
        if self.partials.claimed.lock().unwrap_or_else(PoisonError::into_inner).contains(&name) {
            return 0;
        }
        fs::metadata(self.partials.directory.join(name)).map_or(0, |file| file.len())
    }

    /// The file to write a large NAR file to whose bytes `key` identifies. What came of it before is in it, and what is in it
    /// stays when it is dropped. Where another transfer writes to that file now, an empty one that does not stay.
    #[must_use]
    pub fn partial(&self, key: &Hash) -> TempFile {
        let Some(claim) = self.partials.claim(key.to_nix32()) else { return self.temp() };
        self.partials.tidy();
        TempFile::kept(self.partials.directory.join(&claim.name), claim)
    }
}

#[cfg(test)]
mod tests {
    use granary_nix::CacheInfo;

    use super::*;

    fn file(name: &str, bytes: u64, hours: u64) -> Found {
        Found { name: name.into(), bytes, age: Duration::from_hours(hours) }
    }

    fn spared(found: &[Found]) -> Vec<String> {
        spare(found.to_vec(), &HashSet::from(["claimed".to_owned()]))
    }

    #[test]
    fn the_newest_are_kept_within_number_bytes_and_age() {
        assert!(spared(&[file("a", 1, 0), file("b", 31 << 30, 160)]).is_empty());
        assert_eq!(spared(&[file("old", 1, 169), file("new", 1, 1)]), ["old"]);
        assert_eq!(spared(&[file("big", 20 << 30, 2), file("new", 20 << 30, 1)]), ["big"]);
        assert_eq!(spared(&[file("claimed", 99 << 30, 200), file("new", 1, 1)]), [""; 0]);
        let many: Vec<Found> = (0..70).map(|number| file(&format!("{number:02}"), 1, number)).collect();
        assert_eq!(spared(&many), ["64", "65", "66", "67", "68", "69"]);
    }

    #[test]
    fn what_came_stays_and_one_transfer_at_a_time_goes_on_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
        let key = Hash::of(b"bytes");
        let first = tree.partial(&key);
        fs::write(first.path(), b"half").unwrap();
        let second = tree.partial(&key);
        assert_ne!(first.path(), second.path());
        fs::write(second.path(), b"other").unwrap();
        let (kept, lost) = (first.path().to_owned(), second.path().to_owned());
        drop((first, second));
        assert_eq!(fs::read(&kept).unwrap(), b"half");
        assert!(!lost.exists());
        assert_eq!(tree.partial(&key).path(), kept, "free again");
        drop(tree);
        let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
        assert_eq!(fs::read(tree.partial(&key).path()).unwrap(), b"half", "over a restart");
    }

    #[test]
    fn no_clock_makes_it_old_and_what_is_counted_does_over_a_restart_too() {
        const YEAR: u64 = 365 * 24;
        let directory = tempfile::tempdir().unwrap();
        let open = || Tree::open(directory.path(), &CacheInfo::default()).unwrap();
        let key = Hash::of(b"bytes");
        let mut tree = open();
        let file = tree.partial(&key);
        let path = file.path().to_owned();
        fs::write(&path, b"half").unwrap();
        drop(file);
        // As a process left it that was killed, by a clock that was years slow or fast, or is now.
        for hours in [9 * 24, 55 * YEAR, 60 * YEAR] {
            keep_age(&path, Duration::from_hours(hours)).unwrap();
            drop(tree);
            tree = open();
            assert!(path.exists());
        }
        for hours in [0, YEAR, 0, YEAR] {
            tree.time_passes(Duration::from_hours(hours));
            assert!(path.exists());
        }
        // 2 hours so far, and 100 more; a restart counts for nothing.
        (0..=100).for_each(|hour| tree.time_passes(Duration::from_hours(hour)));
        drop(tree);
        let tree = open();
        (0..=66).for_each(|hour| tree.time_passes(Duration::from_hours(hour)));
        assert!(path.exists());
        tree.time_passes(Duration::from_hours(67));
        assert!(!path.exists(), "a week is over");
        // Who tries to go on with one makes it young.
        let file = tree.partial(&key);
        fs::write(&path, b"half").unwrap();
        drop(file);
        (68..=200).for_each(|hour| tree.time_passes(Duration::from_hours(hour)));
        let file = tree.partial(&key);
        (201..=900).for_each(|hour| tree.time_passes(Duration::from_hours(hour)));
        drop(file);
        (901..=1000).for_each(|hour| tree.time_passes(Duration::from_hours(hour)));
        assert!(path.exists());
    }

    #[test]
    fn what_came_in_part_makes_room_for_something_whole() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path(), &CacheInfo::default()).unwrap();
        let keys = [Hash::of(b"idle"), Hash::of(b"busy"), Hash::of(b"full")];
        let [idle, busy, full] = keys.each_ref().map(|key| tree.partial(key));
        let paths = [&idle, &busy, &full].map(|file| file.path().to_owned());
        for path in &paths {
            fs::write(path, b"half").unwrap();
        }
        full.discard();
        assert_eq!(tree.partial_bytes(&keys[0]), 0, "somebody else has it");
        drop(idle);
        assert_eq!((tree.partial_bytes(&keys[0]), tree.partial_bytes(&keys[2])), (4, 0));
        assert_eq!((tree.give_up_partials(Some(&keys[0])), tree.give_up_partials(None)), (0, 4));
        assert_eq!(paths.each_ref().map(|path| path.exists()), [false, true, false]);
        drop(busy);
        assert_eq!((tree.give_up_partials(None), tree.give_up_partials(None)), (4, 0));
    }
}
