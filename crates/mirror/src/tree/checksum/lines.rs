//! Checksums of files on a filesystem without extended attributes: lines of text, below `.granary/checksums`.
//!
//! A line has the file's name in the cache and the hash. It is blotted out, for good, before another file gets the name or this
//! one is removed, and written when the file has its name: whatever is interrupted, or fails, leaves a file without a line, which
//! is as what never had a checksum. A line that was cut is none.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use granary_nix::{Extra, Hash};

use crate::tree::disk;

/// Most bytes of one of the 256 files that the lines are in: there is room for about two million altogether.
const MOST: usize = 1 << 20;

/// The lines.
#[derive(Debug)]
pub(super) struct Lines {
    directory: PathBuf,
    /// Held while one is changed. The files in which lines of what is gone have been looked for: what leaves takes its line
    /// along, so once is enough for a process.
    searched: Mutex<HashSet<PathBuf>>,
}

/// Who alone changes them.
#[derive(Debug)]
pub(super) struct Writer<'l> {
    directory: &'l Path,
    searched: MutexGuard<'l, HashSet<PathBuf>>,
}

/// The hashes that were written for the file `name`, the newest last.
pub(super) fn of(directory: &Path, name: &str) -> Vec<Hash> {
    let text = read(&file_of(directory, name)).unwrap_or_default();
    parsed(&text).filter(|(other, _)| *other == name).map(|(_, hash)| hash).collect()
}

impl Lines {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, searched: Mutex::default() }
    }

    /// Waits for others.
    pub(super) fn writer(&self) -> Writer<'_> {
        let searched = self.searched.lock().unwrap_or_else(PoisonError::into_inner);
        Writer { directory: &self.directory, searched }
    }
}

impl Writer<'_> {
    /// Blots out all lines of these names, for good.
    pub(super) fn forget<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> io::Result<()> {
        if !self.directory.try_exists()? {
            return Ok(());
        }
        let mut files: BTreeMap<PathBuf, BTreeSet<&str>> = BTreeMap::new();
        for name in names {
            files.entry(file_of(self.directory, name)).or_default().insert(name);
        }
        files.iter().try_for_each(|(path, names)| blot(path, names))
    }

    /// Writes one for the file `name` of the cache at `root`. Fails where there is no room for it.
    pub(super) fn add(&mut self, root: &Path, name: &str, hash: Hash) -> io::Result<()> {
        fs::create_dir_all(self.directory)?;
        let path = file_of(self.directory, name);
        let mut text = or_nothing(read(&path))?;
        let line = format!("{name} {hash}\n");
        let fits = |text: &[u8]| text.len() + 1 + line.len() <= MOST;
        if !fits(&text) {
            text = self.tidied(&text, root, &path);
            if !fits(&text) {
                return Err(ErrorKind::StorageFull.into());
            }
            self.replace(&path, &text)?;
        }
        // After a line that was cut.
        let start = if text.last().is_none_or(|last| *last == b'\n') { "" } else { "\n" };
        disk::append(&path, format!("{start}{line}").as_bytes())
    }

    /// Puts another file in the place of one, for good: else a machine that stops could leave the one before, with the lines that
    /// are blotted out in this one.
    fn replace(&self, path: &Path, text: &[u8]) -> io::Result<()> {
        let new = path.with_extension("new");
        match fs::remove_file(&new) {
            // One that was interrupted left it.
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        disk::write(&new, text)?;
        disk::sync(&new)?;
        disk::rename(&new, path)?;
        disk::sync_directory(self.directory)
    }

    /// What counts of the lines of a file: without those that were blotted out, and at the first time without those of what is
    /// not there.
    fn tidied(&mut self, text: &[u8], root: &Path, path: &Path) -> Vec<u8> {
        let mut all: BTreeMap<&str, Vec<Hash>> = BTreeMap::new();
        for (name, hash) in parsed(text).filter(|(name, _)| Extra::parse(name).is_ok()) {
            let hashes = all.entry(name).or_default();
            if !hashes.contains(&hash) {
                hashes.push(hash);
            }
        }
        if self.searched.insert(path.to_owned()) {
            all.retain(|name, _| root.join(name).exists());
        }
        let mut tidied = Vec::with_capacity(text.len());
        for (name, hashes) in all {
            for hash in hashes {
                tidied.extend(format!("{name} {hash}\n").into_bytes());
            }
        }
        tidied
    }
}

/// Blots out the lines of these names in one file, which needs no room.
fn blot(path: &Path, names: &BTreeSet<&str>) -> io::Result<()> {
    let text = or_nothing(read(path))?;
    let mut blots = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if names_one(line).is_some_and(|name| names.contains(name)) {
            blots.push((start, vec![b' '; line.trim_ascii_end().len()]));
        }
        start += line.len() as u64;
    }
    if blots.is_empty() {
        return Ok(());
    }
    disk::overwrite(path, &blots)?;
    // Else a machine that stops could leave another file with this line.
    disk::sync(path)
}

/// The file that has the lines of a name.
fn file_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(&Hash::of(name.as_bytes()).to_hex()[..2])
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MOST as u64).read_to_end(&mut text)?;
    Ok(text)
}

/// Of a file that is not there, nothing.
fn or_nothing(text: io::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    match text {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        text => text,
    }
}

/// Names and hashes.
fn parsed(text: &[u8]) -> impl Iterator<Item = (&str, Hash)> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(|line| {
        Some((names_one(line)?, str::from_utf8(line).ok()?.rsplit_once(' ')?.1.parse().ok()?))
    })
}

/// The name in a line, whatever its hash is.
fn names_one(line: &[u8]) -> Option<&str> {
    str::from_utf8(line).ok()?.rsplit_once(' ').map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::disk::power;

    fn log(number: usize) -> String {
        format!("log/00bgd045z0d4icpbc2yyz4gx48ak44la-a{number}.drv")
    }

    fn hash(text: &str) -> Hash {
        Hash::of(text.as_bytes())
    }

    /// The lines of a cache, which has a directory for logs.
    fn scene() -> (tempfile::TempDir, Lines) {
        let temp = tempfile::tempdir().unwrap();
        let lines = Lines::new(temp.path().join("checksums"));
        fs::create_dir_all(&lines.directory).unwrap();
        fs::create_dir_all(temp.path().join("log")).unwrap();
        (temp, lines)
    }

    fn line(name: &str) -> String {
        format!("{name} {}\n", hash("a"))
    }

    #[test]
    fn what_is_forgotten_has_none_and_a_line_that_was_cut_does_not_count() {
        let (temp, lines) = scene();
        let (name, other, directory) = (log(1), log(2), lines.directory.clone());
        let path = file_of(&directory, &name);
        lines.writer().forget([name.as_str()]).unwrap();
        assert_eq!(of(&directory, &name), []);
        lines.writer().add(temp.path(), &name, hash("a")).unwrap();
        lines.writer().add(temp.path(), &other, hash("b")).unwrap();
        // Of another name, and none at all, before and between.
        let odd = [line(&log(3)).as_bytes(), b"\xff\xfe \xfd\n\n \n", &fs::read(&path).unwrap()].concat();
        fs::write(&path, odd).unwrap();
        lines.writer().forget([name.as_str(), other.as_str(), name.as_str()]).unwrap();
        assert_eq!((of(&directory, &name), of(&directory, &other)), (vec![], vec![]));
        assert!(fs::read(&path).unwrap().starts_with(line(&log(3)).as_bytes()));
        for text in ["c", "d"] {
            lines.writer().add(temp.path(), &name, hash(text)).unwrap();
        }
        assert_eq!(of(&directory, &name), [hash("c"), hash("d")], "one that was read meanwhile");
        let mut text = fs::read(&path).unwrap();
        text.truncate(text.len() - 5);
        fs::write(&path, text).unwrap();
        assert_eq!(of(&directory, &name), [hash("c")]);
        lines.writer().add(temp.path(), &name, hash("e")).unwrap();
        assert_eq!(of(&directory, &name), [hash("c"), hash("e")]);
    }

    /// Two logs whose lines are in one file.
    fn neighbours(directory: &Path) -> [String; 2] {
        let one = log(0);
        let is_beside = |other: &String| file_of(directory, other) == file_of(directory, &one);
        let other = (1..100_000).map(log).find(is_beside).unwrap();
        [one, other]
    }

    #[test]
    fn what_is_forgotten_stays_so_when_the_machine_stops_also_in_a_file_that_was_written_anew() {
        let (temp, lines) = scene();
        let directory = lines.directory.clone();
        let [one, other] = neighbours(&directory);
        fs::write(temp.path().join(&one), "a").unwrap();
        let add = |name: &str| lines.writer().add(temp.path(), name, hash("a")).unwrap();
        // With room for another line, and without.
        for spare in [MOST / 2, 0] {
            add(&one);
            let path = file_of(&directory, &one);
            let full = line(&log(9)).repeat((MOST - spare) / line(&log(9)).len() - 1);
            fs::write(&path, fs::read_to_string(&path).unwrap() + &full).unwrap();
            let ((), off) = power::run(usize::MAX, || add(&other));
            off.lose_unsynced(|_| 0);
            assert_eq!(of(&directory, &one), [hash("a")], "{spare} bytes of room: it is there");
            fs::write(&path, line(&one) + &full).unwrap();
            let ((), off) = power::run(usize::MAX, || {
                lines.writer().add(temp.path(), &other, hash("b")).unwrap();
                lines.writer().forget([one.as_str()]).unwrap();
            });
            off.lose_unsynced(|_| 0);
            assert_eq!(of(&directory, &one), [], "{spare} bytes of room: it is forgotten");
            let length = fs::metadata(&path).unwrap().len();
            assert_eq!(
                length < MOST as u64 / 4,
                spare == 0,
                "{length} bytes: written anew where it had to be"
            );
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_an_interrupted_writer_left_is_in_nobodys_way() {
        let (temp, lines) = scene();
        let name = log(1);
        let path = file_of(&lines.directory, &name);
        let full = line(&log(9)).repeat(MOST / line(&log(9)).len());
        let mut steps = 0;
        loop {
            fs::write(&path, &full).unwrap();
            let add = || Lines::new(lines.directory.clone()).writer().add(temp.path(), &name, hash("a"));
            let (result, _) = power::run(steps, add);
            if result.is_ok() {
                break;
            }
            steps += 1;
            assert!(steps < 100, "{result:?}");
        }
        assert!(steps >= 5, "{steps} steps");
        assert_eq!(of(&lines.directory, &name), [hash("a")]);
        assert_eq!(fs::read_dir(&lines.directory).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_forgotten() {
        let (temp, lines) = scene();
        fs::create_dir(file_of(&lines.directory, &log(1))).unwrap();
        assert!(lines.writer().forget([log(1).as_str()]).is_err());
        assert!(lines.writer().add(temp.path(), &log(1), hash("a")).is_err());
    }

    #[test]
    fn what_is_gone_makes_room_and_there_is_a_bound() {
        let (temp, lines) = scene();
        let (here, directory) = (log(10_000), lines.directory.clone());
        fs::write(temp.path().join(&here), "a").unwrap();
        let path = file_of(&directory, &here);
        let full = |name: &str| line(name).repeat(MOST / line(name).len());
        let length = || fs::metadata(&path).unwrap().len();
        let add = |text: &str| lines.writer().add(temp.path(), &here, hash(text));
        // What says nothing more, and what is of a file that is not there any more.
        fs::write(&path, line(&here) + &full(&log(10_001))).unwrap();
        add("b").unwrap();
        assert_eq!(fs::read(&path).unwrap(), format!("{}{here} {}\n", line(&here), hash("b")).into_bytes());
        // Of files that are there, none of which leaves room.
        let (mut many, mut names) = (String::new(), (10_001..).map(log));
        while many.len() + 1 + line(&here).len() <= MOST {
            let name = names.next().unwrap();
            fs::write(temp.path().join(&name), "").unwrap();
            many.push_str(&line(&name));
        }
        fs::write(&path, &many).unwrap();
        let again = Lines::new(directory.clone());
        let refused = |lines: &Lines| lines.writer().add(temp.path(), &here, hash("c")).unwrap_err().kind();
        assert_eq!((refused(&again), of(&directory, &here)), (ErrorKind::StorageFull, vec![]));
        assert_eq!(fs::read(&path).unwrap(), many.as_bytes(), "nothing to write anew");
        // One that goes by itself is not looked for again, as all of them would have to be each time.
        fs::remove_file(temp.path().join(log(10_001))).unwrap();
        assert_eq!(refused(&again), ErrorKind::StorageFull);
        assert_eq!(refused(&lines), ErrorKind::StorageFull, "nor by whoever has looked before");
        // One that is removed makes room for another, be it the only one.
        blot(&path, &BTreeSet::from([log(10_002).as_str()])).unwrap();
        assert_eq!(length(), many.len() as u64);
        add("c").unwrap();
        assert_eq!(of(&directory, &here), [hash("c")]);
        assert!(length() <= MOST as u64 && length() > MOST as u64 / 4 * 3);
    }
}
