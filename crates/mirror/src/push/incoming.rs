//! NAR files that wait for their narinfo, and what came before the narinfo with them.
//!
//! How long one has waited is counted from sweep to sweep, and never read from a clock on the wall, which may jump by a year or
//! start in 1970. Over a restart the count is kept as the time of the file, after 1970.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use super::part::Part;
use super::quota::{Reservation, lock};
use super::refused::{Reason, Refused};
use super::request::is_file_name;
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
    /// When the last sweep was.
    swept: Option<Duration>,
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
                    let age = age_of(meta.modified());
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
        set_age(from, Duration::ZERO).map_err(Refused::disk)?;
        disk::rename(from, &self.directory.join(name)).map_err(Refused::disk)?;
        state.waits(name, size);
        Ok(())
    }

    /// Lets an empty file wait under `name`, one of [`super::beside`].
    pub(super) fn mark(&self, name: &str) -> Result<(), Refused> {
        self.may_wait(name)?;
        let mut state = self.state();
        let path = self.directory.join(name);
        fs::write(&path, "").and_then(|()| set_age(&path, Duration::ZERO)).map_err(Refused::disk)?;
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

    /// Gives the file that waits under `name` to the caller, at `to`; whether there was one.
    pub(super) fn take(&self, name: &str, to: &Path) -> io::Result<bool> {
        let mut state = self.state();
        if state.waiting.remove(name).is_none() {
            return Ok(false);
        }
        disk::rename(&self.directory.join(name), to).map(|()| true)
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
        let step = state.swept.map_or(Duration::ZERO, |last| now.saturating_sub(last).min(LONGEST_STEP));
        state.swept = Some(now);
        state.waiting.retain(|name, waiting| {
            waiting.age = waiting.age.saturating_add(step);
            let (path, old) = (directory.join(name), waiting.age >= AGE);
            if old {
                tracing::info!(name, bytes = waiting.size, "an upload that was never completed is removed");
                remove(&path);
            } else if let Err(error) = set_age(&path, waiting.age) {
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

/// Keeps how long a file has waited.
pub(super) fn set_age(path: &Path, age: Duration) -> io::Result<()> {
    File::options().write(true).open(path)?.set_modified(SystemTime::UNIX_EPOCH + age)
}

/// How long a file has waited, by its time. One that is no such age is of a clock: a crash came before [`set_age`].
fn age_of(modified: io::Result<SystemTime>) -> Duration {
    let age = modified.ok().and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    age.filter(|age| *age <= AGE).unwrap_or_default()
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "cannot remove an upload");
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    async fn write(part: Part, body: impl Into<Body>) -> Result<u64, Refused> {
        part.write(&mut body.into().into_data_stream()).await
    }

    fn incoming(directory: &Path) -> Incoming {
        Incoming::open(directory.join("incoming")).unwrap()
    }

    fn files(incoming: &Incoming) -> Vec<String> {
        let names = fs::read_dir(&incoming.directory).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn an_upload_waits_whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let incoming = incoming(temp.path());
        let part = incoming.begin("a.nar", Some(3), 10).unwrap();
        let error = io::Error::other("cut");
        let cut = futures::stream::iter([Ok(bytes::Bytes::from("ab")), Err(error)]);
        write(part, Body::from_stream(cut)).await.unwrap_err();
        assert!(files(&incoming).is_empty());
        let part = incoming.begin("a.nar", Some(3), 10).unwrap();
        assert_eq!(write(part, "abc").await.unwrap(), 3);
        assert_eq!(files(&incoming), ["a.nar"]);

        // A restart: what is whole is still there, what was in the middle is not.
        fs::write(incoming.directory.join("9.part"), "half").unwrap();
        let incoming = Incoming::open(incoming.directory).unwrap();
        assert_eq!(files(&incoming), ["a.nar"]);
        let to = temp.path().join("taken");
        assert!(incoming.take("a.nar", &to).unwrap() && !incoming.take("a.nar", &to).unwrap());
        assert_eq!(fs::read(to).unwrap(), b"abc");
    }

    #[tokio::test]
    async fn the_quota_counts_what_waits_and_what_is_on_its_way() {
        let temp = tempfile::tempdir().unwrap();
        let incoming = incoming(temp.path());
        let first = incoming.begin("a.nar", Some(6), 10).unwrap();
        assert_eq!(incoming.begin("b.nar", Some(5), 10).unwrap_err().reason(), Reason::TooLarge);
        let chunked = incoming.begin("b.nar", None, 10).unwrap();
        assert_eq!(write(first, "abcdef").await.unwrap(), 6);
        let over = write(chunked, "12345").await.unwrap_err();
        assert_eq!(over.reason(), Reason::TooLarge);
        // The refused one reserves nothing any more.
        let fits = incoming.begin("b.nar", None, 10).unwrap();
        assert_eq!(write(fits, "1234").await.unwrap(), 4);
        assert!(incoming.begin("c.nar", None, 10).is_err());
        // More than was announced is bounded too.
        let liar = incoming.begin("c.nar", Some(1), 13).unwrap();
        assert!(write(liar, "12345678").await.is_err());
    }

    #[tokio::test]
    async fn what_is_not_completed_is_removed_after_a_day() {
        let temp = tempfile::tempdir().unwrap();
        let incoming = incoming(temp.path());
        write(incoming.begin("a.nar", None, 10).unwrap(), "a").await.unwrap();
        let hours = |incoming: &Incoming, hours: std::ops::RangeInclusive<u64>| {
            hours.for_each(|hour| incoming.sweep(Duration::from_hours(hour)));
        };
        hours(&incoming, 0..=13);
        // A restart: what was counted is kept, and nothing is counted meanwhile.
        let incoming = Incoming::open(incoming.directory).unwrap();
        hours(&incoming, 7..=17);
        assert_eq!(files(&incoming), ["a.nar"]);
        hours(&incoming, 18..=18);
        assert!(files(&incoming).is_empty());
        assert!(incoming.begin("a.part", None, 10).is_err(), "our own ending");
    }

    #[tokio::test]
    async fn a_clock_that_jumps_removes_nothing() {
        let temp = tempfile::tempdir().unwrap();
        let incoming = incoming(temp.path());
        write(incoming.begin("a.nar", None, 10).unwrap(), "a").await.unwrap();
        let year = Duration::from_hours(365 * 24);
        for now in [Duration::ZERO, year, Duration::ZERO, year] {
            incoming.sweep(now);
        }
        assert_eq!(files(&incoming), ["a.nar"], "two hours at most");
        // What a crash left with the time of a clock: of 1970, of last year, of next year.
        for time in [Duration::ZERO, year * 54, year * 60] {
            let path = incoming.directory.join("a.nar");
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH + time)
                .unwrap();
            let incoming = Incoming::open(incoming.directory.clone()).unwrap();
            incoming.sweep(Duration::ZERO);
            incoming.sweep(year);
            assert_eq!(files(&incoming), ["a.nar"], "{time:?}");
        }
    }

    #[tokio::test]
    async fn what_came_before_an_artifact_waits_under_a_name_that_no_nar_file_has() {
        let temp = tempfile::tempdir().unwrap();
        let incoming = incoming(temp.path());
        for name in ["listing~a", "debug~a.nar"] {
            assert!(incoming.begin(name, None, 10).is_err());
        }
        let from = temp.path().join("from");
        fs::write(&from, "12345678").unwrap();
        incoming.keep("listing~a", &from, 8).unwrap();
        incoming.mark("debug~a.nar").unwrap();
        assert!(incoming.reserve(3, 10).is_err(), "it counts");
        fs::write(incoming.directory.join("other~a"), "x").unwrap();
        let incoming = Incoming::open(incoming.directory).unwrap();
        assert!(incoming.reserve(3, 10).is_err() && incoming.reserve(2, 10).is_ok());
        assert!(incoming.discard("debug~a.nar") && !incoming.discard("debug~a.nar"));
        assert!(incoming.take("listing~a", &from).unwrap());
        assert!(files(&incoming).is_empty());
    }
}
