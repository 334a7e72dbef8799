//! Follows the mirror map: the highest epoch among the copy on disk, a file and a URL. It never goes back, and it
//! needs none of the three to be there: the map in force stays in force.

mod disk;
mod poll;

use std::path::PathBuf;
use std::sync::Arc;

use granary_fetch::WebClient;
use granary_placement::{CompiledMap, MapError, MirrorMap};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::MapSource;
use poll::{FilePoll, Polled, UrlPoll};

/// The map in force; `None` until there is one.
pub type Current = watch::Receiver<Option<Arc<CompiledMap>>>;
/// Why it may not be the newest one.
pub type Doubt = watch::Receiver<Option<String>>;

/// Why what a source gave is not taken.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The source does not answer, or not with a map.
    #[error("{0}")]
    Source(String),
    /// Not a valid map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// Two maps with one epoch.
    #[error("epoch {0} is in force with other content; a changed map needs a higher epoch")]
    SameEpoch(u64),
    /// Another namespace's map.
    #[error("the map is of namespace {offered:?}, but this mirror follows {followed:?}")]
    Namespace {
        /// The namespace of the map in force.
        followed: String,
        /// What the source has.
        offered: String,
    },
    /// The copy on disk could not be written; the map is in force nevertheless.
    #[error("the map cannot be kept in {}: {source}", path.display())]
    Keep {
        /// The copy.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Looks at the sources of a map.
#[derive(Debug)]
pub struct Follower {
    url: Option<UrlPoll>,
    file: Option<FilePoll>,
    source: MapSource,
    copy: PathBuf,
    current: watch::Sender<Option<Arc<CompiledMap>>>,
    troubles: [Option<String>; 2],
    /// Whether each source had a map at the last look.
    there: [bool; 2],
    doubt: watch::Sender<Option<String>>,
}

impl Follower {
    /// Starts from the copy on disk, if it is usable.
    #[must_use]
    pub fn open(source: MapSource, copy: PathBuf, client: WebClient) -> Self {
        let kept = match disk::load(&copy) {
            Ok(Some(json)) => CompiledMap::read(&json).map_err(|error| error.to_string()),
            Ok(None) => Err(String::new()),
            Err(error) => Err(error.to_string()),
        };
        let kept = match kept {
            Ok(map) => Some(Arc::new(map)),
            Err(reason) if reason.is_empty() => None,
            Err(reason) => {
                warn!(path = %copy.display(), reason, "the kept mirror map is not usable; waiting for another");
                None
            }
        };
        if let Some(map) = &kept {
            info!(epoch = map.map().epoch, "going on with the kept mirror map");
        }
        Self {
            url: source.url.clone().map(|url| UrlPoll::new(client, url)),
            file: source.file.clone().map(FilePoll::new),
            source,
            copy,
            current: watch::Sender::new(kept),
            troubles: [None, None],
            there: [false, false],
            doubt: watch::Sender::new(Some("no source of the mirror map has been looked at".into())),
        }
    }

    /// What is in force, for everyone who wants to know.
    #[must_use]
    pub fn current(&self) -> Current {
        self.current.subscribe()
    }

    /// Why the map in force may not be the newest; `None` when the source that changes first, the URL if there is one, has
    /// just confirmed it.
    #[must_use]
    pub fn doubt(&self) -> Doubt {
        self.doubt.subscribe()
    }

    /// Why sources did not give a map at the last look; empty when nothing was wrong.
    #[must_use]
    pub fn troubles(&self) -> String {
        let troubles: Vec<&str> = self.troubles.iter().flatten().map(String::as_str).collect();
        troubles.join("; ")
    }

    /// Looks at the sources again and again.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(self.source.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.look() => {}
            }
        }
    }

    /// Looks at each source once.
    pub async fn look(&mut self) {
        let polled = self.file.as_mut().map(FilePoll::poll);
        self.settle(0, polled);
        let polled = match &mut self.url {
            Some(url) => Some(url.poll().await),
            None => None,
        };
        self.settle(1, polled);
        let first = usize::from(self.source.url.is_some());
        let trouble = self.troubles();
        self.doubt.send_replace(match (self.there[first], trouble.is_empty()) {
            (true, true) => None,
            (false, true) => Some("the source of the mirror map has none".into()),
            (_, false) => Some(format!("the mirror map cannot be read: {trouble}")),
        });
    }

    /// Takes what a source gave. Trouble is logged when it begins, changes and ends, not at every look.
    fn settle(&mut self, index: usize, polled: Option<Result<Polled, FollowError>>) {
        let Some(polled) = polled else { return };
        let name = ["file", "url"][index];
        self.there[index] = matches!(polled, Ok(Polled::Json(_)));
        let trouble = match polled {
            // What was refused the last time is still the same.
            Ok(Polled::Unchanged) => return self.there[index] = true,
            Ok(Polled::Absent) => None,
            Ok(Polled::Json(json)) => self.offer(&json).err().map(|error| error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        if trouble == self.troubles[index] {
            return;
        }
        if let Some(reason) = &trouble {
            warn!(source = name, reason, "the mirror map is not taken; the one in force stays");
        } else {
            info!(source = name, "the mirror map can be read again");
        }
        self.troubles[index] = trouble;
    }

    /// Puts a map in force and keeps it, when it is newer.
    fn offer(&self, json: &[u8]) -> Result<(), FollowError> {
        let offered = MirrorMap::from_json(json)?;
        if let Some(followed) = self.current.borrow().as_deref().map(CompiledMap::map) {
            if offered.namespace != followed.namespace {
                let (followed, offered) = (followed.namespace.clone(), offered.namespace);
                return Err(FollowError::Namespace { followed, offered });
            }
            if offered.epoch == followed.epoch && offered.content_hash() != followed.content_hash() {
                return Err(FollowError::SameEpoch(offered.epoch));
            }
            if offered.epoch <= followed.epoch {
                return Ok(());
            }
        }
        let compiled = CompiledMap::accept(offered)?;
        let (mirrors, policies) = (compiled.map().mirrors.len(), compiled.policies().len());
        info!(epoch = compiled.map().epoch, mirrors, policies, "new mirror map");
        self.current.send_replace(Some(Arc::new(compiled)));
        disk::save(&self.copy, json).map_err(|source| FollowError::Keep { path: self.copy.clone(), source })
    }
}

#[cfg(test)]
mod tests;
