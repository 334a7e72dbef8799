//! A machine whose power can be cut before any step, for the thread that uses it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, raise};

/// What is about to be done.
pub(in super::super) enum Event<'e> {
    /// Of a new file.
    Write(&'e Path),
    /// Of one that is there: in the middle, or at its end.
    Change(&'e Path),
    Sync(&'e Path),
    /// Of all files that there are; names are not relied upon.
    SyncFilesystem,
    Rename(&'e Path, &'e Path),
    Remove(&'e Path),
    SyncDirectory(&'e Path),
    /// A name in the directory of what is being written, which is not looked at after a crash.
    Link,
}

/// A name whose change has not been synced, and what it stood for before.
struct Loose {
    name: PathBuf,
    before: Option<Vec<u8>>,
    /// Where the file was that has the name now.
    from: Option<PathBuf>,
}

/// What was synced, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Syncs {
    /// Contents of single files.
    pub(in super::super) files: usize,
    /// Contents of all files that there are.
    pub(in super::super) filesystems: usize,
    /// Names in a directory.
    pub(in super::super) directories: usize,
}

#[derive(Default)]
struct Machine {
    /// Steps until the power is cut.
    left: usize,
    done: usize,
    syncs: Syncs,
    /// Called at the cut, when that is the end of this process.
    last_words: Option<Box<dyn FnOnce()>>,
    /// Files whose content has not been synced.
    unwritten: HashSet<PathBuf>,
    /// Files that were changed, and what was in them when they were last synced.
    changed: HashMap<PathBuf, Vec<u8>>,
    /// In the order of the changes.
    loose: Vec<Loose>,
}

/// The filesystem on which the machine works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Filesystem {
    /// As this machine has it.
    Own,
    /// One on which each file is synced by itself, such as NFS, ZFS, FUSE, and any under Linux before 5.8.
    Foreign,
    /// One on which each file is synced by itself too, and none keeps an attribute, such as some NFS and ramfs.
    WithoutAttributes,
    /// As the foreign one, with a fault: of files that are synced together, the last is left out.
    Forgetful,
}

thread_local! {
    static MACHINE: RefCell<Option<Machine>> = const { RefCell::new(None) };
    static FILESYSTEM: Cell<Filesystem> = const { Cell::new(Filesystem::Own) };
}

/// Does `work` on such a filesystem.
pub(in super::super) fn on<T>(filesystem: Filesystem, work: impl FnOnce() -> T) -> T {
    let _until_the_end = Mounted;
    FILESYSTEM.set(filesystem);
    work()
}

/// A filesystem that is used until this is dropped, also by a panic: the next test may have the same thread.
struct Mounted;

impl Drop for Mounted {
    fn drop(&mut self) {
        FILESYSTEM.set(Filesystem::Own);
    }
}

/// Whether files are synced each by itself, whatever the filesystem of this machine can do.
pub(super) fn is_foreign() -> bool {
    FILESYSTEM.get() != Filesystem::Own
}

/// Whether a file can keep an attribute.
pub(in super::super) fn has_attributes() -> bool {
    FILESYSTEM.get() != Filesystem::WithoutAttributes
}

/// Those of several files whose sync is not forgotten.
pub(super) fn remembered<'f, 'p>(files: &'f [&'p Path]) -> &'f [&'p Path] {
    match files.split_last() {
        Some((_, rest)) if FILESYSTEM.get() == Filesystem::Forgetful => rest,
        _ => files,
    }
}

/// Runs `work` on a machine that stops before step number `steps`. What it returned, and how many steps were done.
pub(crate) fn run<T>(steps: usize, work: impl FnOnce() -> T) -> (T, Off) {
    MACHINE.set(Some(Machine { left: steps, ..Machine::default() }));
    let result = work();
    let machine = MACHINE.take().unwrap();
    (result, Off(machine))
}

/// Runs `work` in a process that the system kills before step number `steps`, after `last_words`.
pub(in super::super) fn run_until_killed<T>(
    steps: usize,
    last_words: impl FnOnce() + 'static,
    work: impl FnOnce() -> T,
) -> T {
    let last_words: Option<Box<dyn FnOnce()>> = Some(Box::new(last_words));
    MACHINE.set(Some(Machine { left: steps, last_words, ..Machine::default() }));
    work()
}

/// When the system kills this process, whichever of its threads comes so far.
struct Doom {
    before: usize,
    done: AtomicUsize,
}

static DOOM: OnceLock<Doom> = OnceLock::new();

/// From now on the steps of all threads are counted, and before number `step` the system kills this process.
pub(crate) fn kill_before(step: usize) {
    DOOM.get_or_init(|| Doom { before: step, done: AtomicUsize::new(0) });
}

/// Steps that all threads have done since [`kill_before`].
pub(crate) fn steps_done() -> usize {
    DOOM.get().map_or(0, |doom| doom.done.load(Ordering::SeqCst))
}

/// Asked before each step; fails from the step on at which the power is cut.
pub(super) fn tell(event: &Event<'_>) -> io::Result<()> {
    if let Some(doom) = DOOM.get()
        && doom.done.fetch_add(1, Ordering::SeqCst) >= doom.before
    {
        raise(Signal::SIGKILL)?;
    }
    MACHINE.with_borrow_mut(|machine| {
        let Some(machine) = machine else { return Ok(()) };
        if machine.left == 0
            && let Some(last_words) = machine.last_words.take()
        {
            last_words();
            raise(Signal::SIGKILL)?;
        }
        machine.left = machine.left.checked_sub(1).ok_or_else(|| io::Error::other("the power is cut"))?;
        machine.done += 1;
        machine.note(event);
        Ok(())
    })
}

impl Machine {
    fn note(&mut self, event: &Event<'_>) {
        match *event {
            Event::Write(path) => {
                self.unwritten.insert(path.to_owned());
            }
            Event::Change(path) => {
                let before = || fs::read(path).unwrap_or_default();
                self.changed.entry(path.to_owned()).or_insert_with(before);
            }
            Event::Sync(path) => {
                self.syncs.files += 1;
                self.unwritten.remove(path);
                self.changed.remove(path);
            }
            Event::SyncFilesystem => {
                self.syncs.filesystems += 1;
                self.unwritten.clear();
                self.changed.clear();
            }
            Event::Rename(from, to) => {
                let (name, origin) = (to.to_owned(), Some(from.to_owned()));
                self.loose.push(Loose { name, before: fs::read(to).ok(), from: origin });
                if self.unwritten.remove(from) {
                    self.unwritten.insert(to.to_owned());
                } else {
                    self.unwritten.remove(to);
                }
                match self.changed.remove(from) {
                    Some(before) => drop(self.changed.insert(to.to_owned(), before)),
                    None => drop(self.changed.remove(to)),
                }
            }
            Event::Remove(path) => {
                let before = fs::read(path).ok();
                self.loose.push(Loose { name: path.to_owned(), before, from: None });
            }
            Event::Link => {}
            Event::SyncDirectory(path) => {
                self.syncs.directories += 1;
                self.loose.retain(|loose| loose.name.parent() != Some(path));
            }
        }
    }
}

/// A machine without power, and a disk that has not yet been looked at.
pub(crate) struct Off(Machine);

impl Off {
    /// Steps that were done.
    pub(crate) fn steps(&self) -> usize {
        self.0.done
    }

    /// Those of them that were syncs.
    pub(in super::super) fn syncs(&self) -> Syncs {
        self.0.syncs
    }

    /// Loses what was not synced: half of each such file's content, or of what was added to it, and all that was written over
    /// what was there; and of the names that were changed, for each directory, the changes after one that `choose` picks out of
    /// so many.
    pub(crate) fn lose_unsynced(self, mut choose: impl FnMut(usize) -> usize) {
        for (file, before) in &self.0.changed {
            let Ok(now) = fs::read(file) else { continue };
            let added = now.strip_prefix(before.as_slice()).unwrap_or_default();
            fs::write(file, [before, &added[..added.len() / 2]].concat()).unwrap();
        }
        for file in &self.0.unwritten {
            if let Ok(bytes) = fs::read(file) {
                fs::write(file, &bytes[..bytes.len() / 2]).unwrap();
            }
        }
        let mut directories: Vec<&Path> =
            self.0.loose.iter().filter_map(|loose| loose.name.parent()).collect();
        directories.sort_unstable();
        directories.dedup();
        for directory in directories {
            let loose: Vec<&Loose> =
                self.0.loose.iter().filter(|loose| loose.name.parent() == Some(directory)).collect();
            let kept = choose(loose.len() + 1);
            for Loose { name, before, from } in loose[kept..].iter().rev() {
                if let Some(from) = from.as_ref().filter(|from| !from.exists()) {
                    // It may have been removed since.
                    let _ = fs::rename(name, from);
                }
                match before {
                    Some(content) => fs::write(name, content).unwrap(),
                    // It may have been removed, or never made, after the change was noted.
                    None => drop(fs::remove_file(name)),
                }
            }
        }
    }
}
