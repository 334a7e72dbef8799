//! NAR files that wait for their narinfo, and what came before the narinfo with them.
//!
//! How long one has waited is counted from sweep to sweep ([`crate::counted`]). Over a restart the count is kept as the time of the
//! file, after 1970.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::part::Part;
use super::quota::{Reservation, lock};
use super::refused::{Reason, Refused};
use super::request::is_file_name;
use crate::counted::{Counted, keep_age, kept_age};
use crate::tree::{TreeError, disk};

/// Files that may wait.
const MOST: usize = 10_000;
/// How long one may wait.
const AGE: Duration = Duration::from_hours(24);
/// The most that the time between two sweeps counts for.
const LONGEST_STEP: Duration = Duration::from_hours(1);
/// The ending of a file that is not whole; no name of a client may have it.
const PART: &str = ".part";

/// The directory, and what is in it.
#[derive(Debug)]
pub(super) struct Incoming {
    directory: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    waiting: HashMap<String, Waiting>,
    /// Time, from sweep to sweep.
    counted: Counted,
    /// Bytes that are reserved by uploads in work.
    pub(super) reserved: u64,
    /// Names the next part.
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    size: u64,
    /// How long, as far as that was counted.
    age: Duration,
}

impl State {
    /// Bytes that are here or on their way.
    pub(super) fn bytes(&self) -> u64 {
        self.waiting.values().fold(self.reserved, |sum, waiting| sum.saturating_add(waiting.size))
    }

    /// A file waits from now on.
    pub(super) fn waits(&mut self, name: &str, size: u64) {
        self.waiting.insert(name.to_owned(), Waiting { size, age: Duration::ZERO });
    }
}

impl Incoming {
    /// Makes the directory, if the disk takes it, or finds out what waits in it. What is not whole is removed.
    pub(super) fn open(directory: PathBuf) -> Result<Self, TreeError> {
        let made = fs::create_dir_all(&directory).map_err(TreeError::io("create the directory", &directory));
        let mut state = State::default();
        if !TreeError::or_later(made)? {
            return Ok(Self { directory, state: Arc::new(Mutex::new(state)) });
        }
        for entry in fs::read_dir(&directory).map_err(TreeError::io("list", &directory))? {
            let entry = entry.map_err(TreeError::io("list", &directory))?;
            let waits = |name: &&str| is_nar_name(name) || is_beside(name);
            let name = entry.file_name().to_str().filter(waits).map(str::to_owned);
            let meta = entry.metadata().map_err(TreeError::io("read", &entry.path()))?;
            match name {
                Some(name) if meta.is_file() => {
                    let age = kept_age(meta.modified(), AGE);
                    state.waiting.insert(name, Waiting { size: meta.len(), age });
                }
                _ => remove(&entry.path()),
            }
        }
        Ok(Self { directory, state: Arc::new(Mutex::new(state)) })
    }

    /// Begins an upload, of which `length` bytes are announced, if it fits into what of `quota` is not used.
    pub(super) fn begin(&self, name: &str, length: Option<u64>, quota: u64) -> Result<Part, Refused> {
        if !is_nar_name(name) {
            return Err(Refused::not_taken(name));
        }
        self.may_wait(name)?;
        let reservation = self.reserve(length.unwrap_or(0), quota)?;
        let mut state = self.state();
        let path = self.directory.join(format!("{}{PART}", state.next));
        state.next += 1;
        let state = Arc::clone(&self.state);
        Ok(Part { path, name: name.to_owned(), directory: self.directory.clone(), state, reservation })
    }

    /// Reserves bytes of what of `quota` is not used, for an upload that is written elsewhere.
    pub(super) fn reserve(&self, bytes: u64, quota: u64) -> Result<Reservation, Refused> {
        Reservation::new(&self.state, bytes, quota)
    }

    /// Lets a file that was written elsewhere wait under `name`, one of [`super::beside`].
    pub(super) fn keep(&self, name: &str, from: &Path, size: u64) -> Result<(), Refused> {
        self.may_wait(name)?;
        let mut state = self.state();
        keep_age(from, Duration::ZERO).map_err(Refused::disk)?;
        disk::rename(from, &self.directory.join(name)).map_err(Refused::disk)?;
        state.waits(name, size);
        Ok(())
    }

    /// Lets an empty file wait under `name`, one of [`super::beside`].
    pub(super) fn mark(&self, name: &str) -> Result<(), Refused> {
        self.may_wait(name)?;
        let mut state = self.state();
        let path = self.directory.join(name);
        fs::write(&path, "").and_then(|()| keep_age(&path, Duration::ZERO)).map_err(Refused::disk)?;
        state.waits(name, 0);
        Ok(())
    }

    /// Whether one more file may wait, and in a directory that is there.
    fn may_wait(&self, name: &str) -> Result<(), Refused> {
        fs::create_dir_all(&self.directory).map_err(Refused::disk)?;
        let state = self.state();
        if state.waiting.len() >= MOST && !state.waiting.contains_key(name) {
            let message = format!("{MOST} files wait for their narinfo already");
            return Err(Refused::new(Reason::TooLarge, message));
        }
        Ok(())
    }

    /// Gives the file that waits under `name` to the caller, at `to`; whether there was one. On a failure it still waits.
    pub(super) fn take(&self, name: &str, to: &Path) -> io::Result<bool> {
        let mut state = self.state();
        if !state.waiting.contains_key(name) {
            return Ok(false);
        }
        disk::rename(&self.directory.join(name), to)?;
        state.waiting.remove(name);
        Ok(true)
    }

    /// Removes what waits under `name`; whether anything did.
    pub(super) fn discard(&self, name: &str) -> bool {
        let mut state = self.state();
        let waited = state.waiting.remove(name).is_some();
        if waited {
            remove(&self.directory.join(name));
        }
        waited
    }

    /// Removes what has waited too long; `now` is time since the program started.
    pub(super) fn sweep(&self, now: Duration) {
        let directory = &self.directory;
        let mut state = self.state();
        let step = state.counted.step(now, LONGEST_STEP);
        state.waiting.retain(|name, waiting| {
            waiting.age = waiting.age.saturating_add(step);
            let (path, old) = (directory.join(name), waiting.age >= AGE);
            if old {
                tracing::info!(name, bytes = waiting.size, "an upload that was never completed is removed");
                remove(&path);
            } else if let Err(error) = keep_age(&path, waiting.age) {
                tracing::debug!(%error, name, "how long it has waited is not kept");
            }
            !old
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Whether a name is one of [`super::beside`]'s: a NAR file's has no tilde.
fn is_beside(name: &str) -> bool {
    let plain = |rest: &str| is_file_name(rest);
    ["listing~", "debug~"].iter().any(|kind| name.strip_prefix(kind).is_some_and(plain))
}

fn is_nar_name(name: &str) -> bool {
    is_file_name(name) && !name.ends_with(PART)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "cannot remove an upload");
    }
}

#[cfg(test)]
mod tests;
