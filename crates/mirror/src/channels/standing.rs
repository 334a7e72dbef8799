//! One channel, and how far it is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use granary_placement::report::ChannelReport;
use jiff::Timestamp;

use super::{Revision, State};
use crate::config::Channel;

/// One channel, and how far it is.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) channel: Channel,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
pub(super) struct Now {
    pub(super) state: State,
    /// Store paths of the newest revision that are here.
    pub(super) published: u64,
    /// Store paths of it that were refused in this round, or in the last.
    pub(super) refused: u64,
    /// Why it cannot be followed now.
    pub(super) trouble: Option<String>,
    /// When it was last looked at.
    pub(super) looked: Option<Instant>,
}

impl Standing {
    pub(super) fn new(channel: Channel, state: State) -> Self {
        Self { channel, now: Mutex::new(Now { state, ..Now::default() }) }
    }

    /// The revisions that are kept, the newest first.
    pub(super) fn revisions(&self) -> Vec<Revision> {
        self.now().state.revisions.clone()
    }

    /// Each change is one assignment, so that a thread that panicked left no damage.
    pub(super) fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its list is to be asked for in a round: in each one, unless the channel says how often, and the list was had.
    pub(super) fn is_due(&self) -> bool {
        self.left().is_none_or(|left| left.is_zero()) || self.now().trouble.is_some()
    }

    /// How long it is until the list is to be asked for again, if the channel says how often.
    pub(super) fn left(&self) -> Option<Duration> {
        let (every, looked) = (self.channel.every?, self.now().looked);
        Some(looked.map_or(Duration::ZERO, |looked| every.saturating_sub(looked.elapsed())))
    }

    /// `every`: how often its list is asked for, if the channel does not say.
    pub(super) fn report(&self, now: Timestamp, every: Duration) -> ChannelReport {
        let every = self.channel.every.unwrap_or(every);
        let Now { state, published, refused, trouble, looked: _ } = &*self.now();
        let newest = state.revisions.first();
        let complete = state.revisions.iter().find(|revision| revision.complete.is_some());
        ChannelReport {
            name: self.channel.name.clone(),
            url: self.channel.url.to_string(),
            newest: newest.map(|newest| newest.url.clone()),
            artifacts: newest.map_or(0, |newest| newest.paths),
            published: *published,
            refused: *refused,
            complete: complete.map(|revision| revision.url.clone()),
            completed_at: complete.and_then(|revision| Some(revision.complete?.to_string())),
            looked_at: state.looked.map(|time| time.to_string()),
            lag_seconds: state.lag(trouble.is_none(), every, now),
            revisions: state.revisions.len() as u64,
            trouble: trouble.clone(),
        }
    }
}
