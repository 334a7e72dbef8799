//! Checksums of files on a filesystem without extended attributes: lines of text, below `.granary/checksums`.
//!
//! A line has the file's name in the cache and the hash. It is written before the file gets its name, so a process that ends
//! in between leaves the file that was there before, whose line is the last but one: both count. Nothing is synced; what is
//! lost is as what never had a checksum, and a line that was cut is none.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use granary_nix::{Extra, Hash};

/// Most bytes of one of the 256 files that the lines are in: there is room for about two million altogether.
const MOST: usize = 1 << 20;
/// Lines of one name that count.
const COUNT: usize = 2;

/// The lines, and who writes them.
#[derive(Debug)]
pub(super) struct Lines {
    directory: PathBuf,
    /// Held while a file is changed.
    writing: Mutex<()>,
}

/// The hashes that were written for the file `name`, the newest last.
pub(super) fn of(directory: &Path, name: &str) -> Vec<Hash> {
    let text = read(&file_of(directory, name));
    let all: Vec<Hash> =
        parsed(&text).filter(|(other, _)| *other == name).filter_map(|(_, hash)| hash.parse().ok()).collect();
    all[all.len().saturating_sub(COUNT)..].to_vec()
}

impl Lines {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, writing: Mutex::default() }
    }

    /// Writes one for the file `name` of the cache at `root`. Where there is no room for it, the file stays without.
    pub(super) fn add(&self, root: &Path, name: &str, hash: Hash) -> io::Result<()> {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if of(&self.directory, name).last() == Some(&hash) {
            return Ok(());
        }
        fs::create_dir_all(&self.directory)?;
        let path = file_of(&self.directory, name);
        let mut text = read(&path);
        let line = format!("{name} {hash}\n");
        if text.len() + 1 + line.len() > MOST {
            text = tidied(&text, root);
            let new = path.with_extension("new");
            fs::write(&new, &text)?;
            fs::rename(new, &path)?;
            // What is full of what is there is not gone through again and again.
            if text.len() > MOST / 4 * 3 {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        // After a line that was cut.
        let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        File::options().create(true).append(true).open(path)?.write_all(format!("{start}{line}").as_bytes())
    }
}

/// The file that has the lines of a name.
fn file_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(&Hash::of(name.as_bytes()).to_hex()[..2])
}

/// What is in a file; nothing of one that is not there or cannot be read.
fn read(path: &Path) -> String {
    let mut text = Vec::new();
    let file = File::open(path).and_then(|file| file.take(MOST as u64).read_to_end(&mut text));
    file.map(|_| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

/// Names and hashes.
fn parsed(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines().filter_map(|line| line.rsplit_once(' '))
}

/// The lines that count of the files that are there.
fn tidied(text: &str, root: &Path) -> String {
    let mut all: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, hash) in parsed(text).filter(|(name, hash)| Extra::parse(name).is_ok() && is_hash(hash)) {
        let hashes = all.entry(name).or_default();
        hashes.push(hash);
        hashes.drain(..hashes.len().saturating_sub(COUNT));
    }
    all.retain(|name, _| root.join(name).exists());
    let lines = all.iter().flat_map(|(name, hashes)| hashes.iter().map(move |hash| (name, hash)));
    lines.flat_map(|(name, hash)| [name, " ", hash, "\n"]).collect()
}

fn is_hash(text: &str) -> bool {
    text.parse::<Hash>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(number: usize) -> String {
        format!("log/00bgd045z0d4icpbc2yyz4gx48ak44la-a{number}.drv")
    }

    fn hash(text: &str) -> Hash {
        Hash::of(text.as_bytes())
    }

    #[test]
    fn the_last_two_count_and_a_line_that_was_cut_does_not() {
        let temp = tempfile::tempdir().unwrap();
        let lines = Lines::new(temp.path().join("checksums"));
        let (name, directory) = (log(1), lines.directory.clone());
        assert_eq!(of(&directory, &name), []);
        for text in ["a", "b", "b", "c"] {
            lines.add(temp.path(), &name, hash(text)).unwrap();
        }
        assert_eq!(of(&directory, &name), [hash("b"), hash("c")]);
        assert_eq!(of(&directory, &log(2)), []);
        let path = file_of(&directory, &name);
        let mut text = read(&path);
        assert_eq!(text.lines().count(), 3);
        text.truncate(text.len() - 5);
        fs::write(&path, text).unwrap();
        assert_eq!(of(&directory, &name), [hash("a"), hash("b")]);
        lines.add(temp.path(), &name, hash("d")).unwrap();
        assert_eq!(of(&directory, &name), [hash("b"), hash("d")]);
    }

    #[test]
    fn what_is_gone_makes_room_and_there_is_a_bound() {
        let temp = tempfile::tempdir().unwrap();
        let lines = Lines::new(temp.path().join("checksums"));
        let here = log(0);
        let directory = lines.directory.clone();
        fs::create_dir_all(temp.path().join("log")).unwrap();
        fs::create_dir_all(&directory).unwrap();
        fs::write(temp.path().join(&here), "a").unwrap();
        let path = file_of(&directory, &here);
        let line = |name: &str| format!("{name} {}\n", hash("a"));
        let full = |name: &str| line(name).repeat(MOST / line(name).len());
        // Of a file that is not there any more.
        fs::write(&path, line(&here) + &full(&log(1))).unwrap();
        lines.add(temp.path(), &here, hash("b")).unwrap();
        assert_eq!(read(&path), format!("{}{here} {}\n", line(&here), hash("b")));
        // Of files that are there.
        let (mut many, mut names) = (String::new(), (0..).map(log));
        while many.len() + 1 + line(&here).len() <= MOST {
            let name = names.next().unwrap();
            fs::write(temp.path().join(&name), "").unwrap();
            many.push_str(&line(&name));
        }
        fs::write(&path, &many).unwrap();
        assert!(lines.add(temp.path(), &here, hash("c")).is_err());
        assert!(read(&path).len() <= MOST);
        assert_eq!(of(&directory, &here), [hash("a")], "as it was");
    }
}
