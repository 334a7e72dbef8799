//! Channels: the newest revisions of `<url>/store-paths.xz`, kept here with their closures.
//!
//! * [`list`]: the list of a revision, read as a stream.
//! * [`state`]: which revisions are kept.
//! * [`look`]: whether a channel has a new revision.
//! * [`bring`]: getting what a revision lists, in batches.
//!
//! ```text
//! .granary/channels/<name>/state.json       the revisions that are kept
//! .granary/channels/<name>/<id>.paths       what each lists
//! ```
//!
//! A revision is complete when everything that it lists is here, except what no upstream gives as it should be; that is
//! written down in one step. A path that fails is tried again, and told, and keeps nothing else from being had. What was
//! complete stays wanted until a newer revision is.

mod bring;
mod list;
mod look;
mod state;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{BufReader, ErrorKind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use granary_fetch::Source;
use granary_nix::HashPart;
use granary_placement::report::ChannelReport;
use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::Channel;
use crate::sync::Syncer;
use crate::tree::{Tree, TreeError};
use crate::wants::Wants;

pub use list::{ListError, Listed, kept_paths, read_list};
pub use look::ChannelError;
pub use state::{Revision, State};

/// The channels of one mirror.
#[derive(Debug)]
pub struct Channels {
    tree: Arc<Tree>,
    client: reqwest::Client,
    syncer: Syncer,
    sources: Vec<Source>,
    wants: Arc<Wants>,
    standing: Vec<Standing>,
}

/// One channel, and how far it is.
#[derive(Debug)]
struct Standing {
    channel: Channel,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    state: State,
    /// Store paths of the newest revision that are here.
    published: u64,
    /// Store paths of it that were refused in this round, or in the last.
    refused: u64,
    trouble: Option<String>,
}

impl Channels {
    /// With what was kept on disk. `syncer` must be one for parts of what is wanted. Blocks on the disk.
    #[must_use]
    pub fn open(
        channels: &[Channel],
        tree: Arc<Tree>,
        client: reqwest::Client,
        syncer: Syncer,
        sources: &[Source],
        wants: Arc<Wants>,
    ) -> Self {
        let standing = channels.iter().map(|channel| {
            let path = directory(&tree, channel).join("state.json");
            let now = Now { state: read_state(&path), ..Now::default() };
            Standing { channel: channel.clone(), now: Mutex::new(now) }
        });
        let standing = standing.collect();
        let channels = Self { tree, client, syncer, sources: sources.to_vec(), wants, standing };
        channels.tell_wants();
        channels
    }

    /// Looks and brings, again and again. `alone`: nobody but policies and channels has anything in the catalog.
    pub async fn run(&self, every: Duration, alone: bool, stop: &CancellationToken) {
        while !self.standing.is_empty() {
            let round = async {
                self.round().await;
                if alone {
                    self.tidy().await;
                }
            };
            if stop.run_until_cancelled(round).await.is_none()
                || stop.run_until_cancelled(sleep(every)).await.is_none()
            {
                return;
            }
        }
    }

    /// Looks at each channel once, and brings what is not here of the revisions that are kept.
    pub async fn round(&self) {
        for standing in &self.standing {
            let trouble = self.look(standing).await.err().map(|error| error.to_string());
            if let Some(trouble) = &trouble {
                tracing::warn!(
                    channel = standing.channel.name,
                    trouble,
                    "the channel cannot be followed now"
                );
            }
            standing.now().trouble = trouble;
            self.bring(standing).await;
        }
    }

    /// Removes from the catalog what neither a policy nor a channel wants. For a mirror without pull-through, which nobody else
    /// puts anything there for; not while a round runs.
    pub async fn tidy(&self) {
        let (tree, wants) = (Arc::clone(&self.tree), Arc::clone(&self.wants));
        let tidy = move || match wants.now() {
            Some(wanted) => tree.prune_catalog(&tree.closed(wanted.all().copied().collect())),
            None => Ok(0),
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(tidy).await {
            tracing::warn!(%error, "cannot tidy up the catalog");
        }
    }

    /// How far each channel is.
    #[must_use]
    pub fn reports(&self, now: Timestamp) -> Vec<ChannelReport> {
        self.standing.iter().map(|standing| standing.report(now)).collect()
    }

    /// The revisions that are kept of a channel, the newest first.
    #[must_use]
    pub fn revisions(&self, name: &str) -> Vec<Revision> {
        let standing = self.standing.iter().find(|standing| standing.channel.name == name);
        standing.map(|standing| standing.now().state.revisions.clone()).unwrap_or_default()
    }

    fn list_path(&self, channel: &Channel, id: &str) -> PathBuf {
        directory(&self.tree, channel).join(format!("{id}.paths"))
    }

    /// Changes what is kept, on disk too, and what is wanted by it. Blocks on the disk.
    fn change(&self, standing: &Standing, change: impl FnOnce(&mut State)) -> Result<(), TreeError> {
        let mut state = standing.now().state.clone();
        let before = state.clone();
        change(&mut state);
        if state != before {
            let path = directory(&self.tree, &standing.channel).join("state.json");
            let json = serde_json::to_vec_pretty(&state)
                .map_err(|error| TreeError::io("write", &path)(error.into()))?;
            self.tree.keep_below(&path, &json)?;
            standing.now().state = state.clone();
        }
        self.tell_wants();
        for gone in before.revisions.iter().filter(|old| state.revisions.iter().all(|kept| kept.id != old.id))
        {
            let path = self.list_path(&standing.channel, &gone.id);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "an old list cannot be removed");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Says what all kept revisions list. When a list cannot be read, nobody knows what is wanted.
    fn tell_wants(&self) {
        let mut wanted: HashSet<HashPart> = HashSet::new();
        for standing in &self.standing {
            let revisions = standing.now().state.revisions.clone();
            for revision in revisions {
                let path = self.list_path(&standing.channel, &revision.id);
                let Ok(file) = File::open(&path) else {
                    tracing::error!(path = %path.display(), "the list of a revision cannot be read");
                    self.wants.set_channels(None);
                    return;
                };
                wanted.extend(kept_paths(BufReader::new(file)).map(|path| path.hash_part()));
            }
        }
        self.wants.set_channels(Some(wanted));
    }
}

impl Standing {
    /// Each change is one assignment, so that a thread that panicked left no damage.
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, now: Timestamp) -> ChannelReport {
        let Now { state, published, refused, trouble } = &*self.now();
        let newest = state.revisions.first();
        let complete = state.revisions.iter().find(|revision| revision.complete.is_some());
        let behind = newest.filter(|newest| newest.complete.is_none());
        let lag = behind.map_or(0, |newest| now.as_second() - newest.seen.as_second());
        ChannelReport {
            name: self.channel.name.clone(),
            url: self.channel.url.to_string(),
            newest: newest.map(|newest| newest.url.clone()),
            artifacts: newest.map_or(0, |newest| newest.paths),
            published: *published,
            refused: *refused,
            complete: complete.map(|revision| revision.url.clone()),
            completed_at: complete.and_then(|revision| Some(revision.complete?.to_string())),
            lag_seconds: u64::try_from(lag).unwrap_or_default(),
            revisions: state.revisions.len() as u64,
            trouble: trouble.clone(),
        }
    }
}

fn directory(tree: &Tree, channel: &Channel) -> PathBuf {
    tree.layout().channels().join(&channel.name)
}

/// What was kept. What cannot be read is found again.
fn read_state(path: &std::path::Path) -> State {
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
