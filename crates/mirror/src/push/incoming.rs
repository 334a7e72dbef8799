//! NAR files that wait for their narinfo, and what came before the narinfo with them.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use super::part::Part;
use super::quota::{Reservation, lock};
use super::refused::{Reason, Refused};
use super::request::is_file_name;
use crate::tree::TreeError;

/// Files that may wait.
const MOST: usize = 10_000;
/// How long one may wait.
const AGE: Duration = Duration::from_hours(24);
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
    /// Bytes that are reserved by uploads in work.
    pub(super) reserved: u64,
    /// Names the next part.
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    size: u64,
    since: SystemTime,
}

impl State {
    /// Bytes that are here or on their way.
    pub(super) fn bytes(&self) -> u64 {
        self.waiting.values().fold(self.reserved, |sum, waiting| sum.saturating_add(waiting.size))
    }

    /// A file waits from now on.
    pub(super) fn waits(&mut self, name: &str, size: u64) {
        self.waiting.insert(name.to_owned(), Waiting { size, since: SystemTime::now() });
    }
}

impl Incoming {
    /// Makes the directory, or finds out what waits in it. What is not whole is removed.
    pub(super) fn open(directory: PathBuf, now: SystemTime) -> Result<Self, TreeError> {
        fs::create_dir_all(&directory).map_err(TreeError::io("create the directory", &directory))?;
        let mut state = State::default();
        for entry in fs::read_dir(&directory).map_err(TreeError::io("list", &directory))? {
            let entry = entry.map_err(TreeError::io("list", &directory))?;
            let waits = |name: &&str| is_nar_name(name) || is_beside(name);
            let name = entry.file_name().to_str().filter(waits).map(str::to_owned);
            let meta = entry.metadata().map_err(TreeError::io("read", &entry.path()))?;
            match name {
                Some(name) if meta.is_file() => {
                    let since = meta.modified().unwrap_or(now);
                    state.waiting.insert(name, Waiting { size: meta.len(), since });
                }
                _ => remove(&entry.path()),
            }
        }
        let incoming = Self { directory, state: Arc::new(Mutex::new(state)) };
        incoming.sweep(now);
        Ok(incoming)
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
        fs::rename(from, self.directory.join(name)).map_err(Refused::disk)?;
        state.waits(name, size);
        Ok(())
    }

    /// Lets an empty file wait under `name`, one of [`super::beside`].
    pub(super) fn mark(&self, name: &str) -> Result<(), Refused> {
        self.may_wait(name)?;
        let mut state = self.state();
        fs::write(self.directory.join(name), "").map_err(Refused::disk)?;
        state.waits(name, 0);
        Ok(())
    }

    fn may_wait(&self, name: &str) -> Result<(), Refused> {
        let state = self.state();
        if state.waiting.len() >= MOST && !state.waiting.contains_key(name) {
            let message = format!("{MOST} files wait for their narinfo already");
            return Err(Refused::new(Reason::TooLarge, message));
        }
        Ok(())
    }

    /// Gives the file that waits under `name` to the caller, at `to`; whether there was one.
    pub(super) fn take(&self, name: &str, to: &Path) -> std::io::Result<bool> {
        let mut state = self.state();
        if state.waiting.remove(name).is_none() {
            return Ok(false);
        }
        fs::rename(self.directory.join(name), to).map(|()| true)
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

    /// Removes what has waited too long.
    pub(super) fn sweep(&self, now: SystemTime) {
        let directory = &self.directory;
        self.state().waiting.retain(|name, waiting| {
            let old = now.duration_since(waiting.since).is_ok_and(|age| age >= AGE);
            if old {
                tracing::info!(name, bytes = waiting.size, "an upload that was never completed is removed");
                remove(&directory.join(name));
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
mod tests {
    use axum::body::Body;

    use super::*;

    async fn write(part: Part, body: impl Into<Body>) -> Result<u64, Refused> {
        part.write(&mut body.into().into_data_stream()).await
    }

    fn incoming(directory: &Path) -> Incoming {
        Incoming::open(directory.join("incoming"), SystemTime::now()).unwrap()
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
        let error = std::io::Error::other("cut");
        let cut = futures::stream::iter([Ok(bytes::Bytes::from("ab")), Err(error)]);
        write(part, Body::from_stream(cut)).await.unwrap_err();
        assert!(files(&incoming).is_empty());
        let part = incoming.begin("a.nar", Some(3), 10).unwrap();
        assert_eq!(write(part, "abc").await.unwrap(), 3);
        assert_eq!(files(&incoming), ["a.nar"]);

        // A restart: what is whole is still there, what was in the middle is not.
        fs::write(incoming.directory.join("9.part"), "half").unwrap();
        let incoming = Incoming::open(incoming.directory, SystemTime::now()).unwrap();
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
        incoming.sweep(SystemTime::now() + AGE - Duration::from_mins(1));
        assert_eq!(files(&incoming), ["a.nar"]);
        incoming.sweep(SystemTime::now() + AGE);
        assert!(files(&incoming).is_empty());
        assert!(incoming.begin("a.part", None, 10).is_err(), "our own ending");
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
        let incoming = Incoming::open(incoming.directory, SystemTime::now()).unwrap();
        assert!(incoming.reserve(3, 10).is_err() && incoming.reserve(2, 10).is_ok());
        assert!(incoming.discard("debug~a.nar") && !incoming.discard("debug~a.nar"));
        assert!(incoming.take("listing~a", &from).unwrap());
        assert!(files(&incoming).is_empty());
    }
}
