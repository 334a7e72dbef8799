//! What is on disk of channels: the revisions that are kept, and what each lists.

use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use granary_fetch::WebClient;
use granary_nix::StorePath;

use super::{Revision, Standing, State, kept_paths};
use crate::config::Channel;
use crate::tree::{Tree, TreeError};

/// Reads and writes them, and asks for new ones.
#[derive(Clone, Debug)]
pub(super) struct Lists {
    pub(super) tree: Arc<Tree>,
    pub(super) client: WebClient,
}

impl Lists {
    pub(super) fn new(tree: Arc<Tree>, client: WebClient) -> Self {
        Self { tree, client }
    }

    /// A channel with what was kept of it. Blocks on the disk.
    pub(super) fn stand(&self, channel: &Channel) -> Standing {
        Standing::new(channel.clone(), read_state(&self.folder(channel).join("state.json")))
    }

    /// Changes what is kept, on disk too. Blocks on the disk.
    pub(super) fn change(
        &self,
        standing: &Standing,
        change: impl FnOnce(&mut State),
    ) -> Result<(), TreeError> {
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
        for gone in before.revisions.iter().filter(|old| state.revisions.iter().all(|kept| kept.id != old.id))
        {
            let path = self.path(&standing.channel, &gone.id);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "an old list cannot be removed");
                }
                _ => {}
            }
        }
        Ok(())
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
