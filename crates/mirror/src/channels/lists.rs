//! What is on disk of channels: the revisions that are kept, and what each lists.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use granary_fetch::WebClient;
use granary_nix::StorePath;

use super::{Revision, Standing, State, kept_paths};
use crate::config::Channel;
use crate::tree::{TempFile, Tree, TreeError, disk};

/// Reads and writes them, and asks for new ones.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    pub(super) tree: Arc<Tree>,
    pub(super) client: WebClient,
    /// Held while the files of a channel change: some are removed because no state names them.
    changing: Arc<Mutex<()>>,
}

impl Lists {
    pub(super) fn new(tree: Arc<Tree>, client: WebClient) -> Self {
        Self { tree, client, changing: Arc::default() }
    }

    /// A channel with what was kept of it. Blocks on the disk.
    pub(super) fn stand(&self, channel: &Channel) -> Standing {
        Standing::new(channel.clone(), read_state(&self.folder(channel).join("state.json")))
    }

    /// A list that was found is that of the newest revision: the list first, and then what names it. Blocks on the disk.
    pub(super) fn found(
        &self,
        standing: &Standing,
        list: TempFile,
        revision: Revision,
        tag: Option<String>,
    ) -> Result<(), TreeError> {
        let _alone = self.alone();
        // A file that is there already is written anew: it may be damaged.
        self.tree.keep_file(list, &self.path(&standing.channel, &revision.id))?;
        self.change_alone(standing, |state| {
            state.found(revision, standing.channel.keep);
            state.tag = tag;
        })
    }

    /// Changes what is kept, on disk too. Blocks on the disk.
    pub(super) fn change(
        &self,
        standing: &Standing,
        change: impl FnOnce(&mut State),
    ) -> Result<(), TreeError> {
        let _alone = self.alone();
        self.change_alone(standing, change)
    }

    fn change_alone(&self, standing: &Standing, change: impl FnOnce(&mut State)) -> Result<(), TreeError> {
        let mut state = standing.now().state.clone();
        let before = state.clone();
        change(&mut state);
        if state == before {
            return Ok(());
        }
        let path = self.folder(&standing.channel).join("state.json");
        let json =
            serde_json::to_vec_pretty(&state).map_err(|error| TreeError::io("write", &path)(error.into()))?;
        self.tree.keep_below(&path, &json)?;
        standing.now().state = state.clone();
        self.tidy(&standing.channel, &state);
        Ok(())
    }

    /// Removes the lists that the state does not name: those of revisions that are kept no longer, and those that a crash left.
    fn tidy(&self, channel: &Channel, state: &State) {
        let kept: HashSet<PathBuf> = state.revisions.iter().map(|it| self.path(channel, &it.id)).collect();
        let files = fs::read_dir(self.folder(channel)).into_iter().flatten();
        let lists = files.filter_map(|file| Some(file.ok()?.path()));
        for list in lists.filter(|path| path.extension().is_some_and(|it| it == "paths")) {
            if !kept.contains(&list)
                && let Err(error) = disk::remove(&list)
            {
                tracing::warn!(path = %list.display(), %error, "an old list cannot be removed");
            }
        }
    }

    /// Nothing is behind this lock but files.
    fn alone(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a revision lists. Blocks on the disk. That it cannot be read is logged.
    pub(super) fn read(
        &self,
        standing: &Standing,
        revision: &Revision,
    ) -> std::io::Result<impl Iterator<Item = StorePath> + use<>> {
        read(&self.path(&standing.channel, &revision.id))
    }

    /// The file with what a revision lists.
    pub(super) fn path(&self, channel: &Channel, id: &str) -> PathBuf {
        self.folder(channel).join(format!("{id}.paths"))
    }

    fn folder(&self, channel: &Channel) -> PathBuf {
        self.tree.layout().channels().join(&channel.folder)
    }
}

/// What a list names. That it cannot be read is logged.
pub(super) fn read(path: &Path) -> std::io::Result<impl Iterator<Item = StorePath> + use<>> {
    let file = File::open(path).inspect_err(|error| {
        tracing::error!(path = %path.display(), %error, "the list of a revision cannot be read");
    })?;
    Ok(kept_paths(BufReader::new(file)))
}

/// What was kept. What cannot be read is found again.
fn read_state(path: &Path) -> State {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return State::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the state of a channel cannot be read");
            return State::default();
        }
    };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "the state of a channel cannot be read");
        State::default()
    })
}

#[cfg(test)]
mod tests {
    use std::thread;

    use jiff::Timestamp;

    use super::super::crashes::{channel, open};
    use super::*;

    #[test]
    fn changes_that_come_at_once_are_all_kept() {
        let directory = tempfile::tempdir().unwrap();
        let lists = open(directory.path());
        let (standing, seen) = (lists.stand(&channel()), Timestamp::UNIX_EPOCH);
        let revision =
            Revision { id: "a".into(), url: "u".into(), paths: 1, seen, complete: None, refused: 0 };
        lists.change(&standing, |state| state.found(revision, 1)).unwrap();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..25 {
                        lists.change(&standing, |state| state.revisions[0].refused += 1).unwrap();
                    }
                });
            }
        });
        assert_eq!(lists.stand(&channel()).now().state.revisions[0].refused, 100);
    }
}
