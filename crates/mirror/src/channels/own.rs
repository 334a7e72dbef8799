//! The channels of a mirror's own configuration: all of what they list is kept here.

use std::sync::Arc;
use std::time::Duration;

use granary_fetch::{Source, WebClient};
use granary_placement::report::ChannelReport;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::round::{Outcome, Round, Watcher};
use super::{Lists, Revision, Standing, State};
use crate::compact::HashParts;
use crate::config::Channel;
use crate::sync::Syncer;
use crate::tree::{Tree, TreeError};
use crate::wants::Wants;

/// The channels of one mirror.
#[derive(Debug)]
pub struct Channels {
    pub(super) lists: Lists,
    pub(super) syncer: Syncer,
    pub(super) sources: Vec<Source>,
    pub(super) wants: Arc<Wants>,
    standing: Vec<Standing>,
}

impl Channels {
    /// With what was kept on disk. `syncer` is for nothing else. Blocks on the disk.
    #[must_use]
    pub fn open(
        channels: &[Channel],
        tree: Arc<Tree>,
        client: WebClient,
        syncer: Syncer,
        sources: &[Source],
        wants: Arc<Wants>,
    ) -> Self {
        let lists = Lists::new(tree, client);
        let standing = channels.iter().map(|channel| lists.stand(channel)).collect();
        if channels.is_empty() {
            wants.set_refused(Some(HashParts::default()));
        }
        let syncer = syncer.for_parts().telling(Arc::clone(&wants));
        let channels = Self { lists, syncer, sources: sources.to_vec(), wants, standing };
        channels.tell_wants();
        channels
    }

    /// Looks and brings, again and again, `every` so often, and at once when `wake` says that something is missing or the list of
    /// a channel that is asked for more often is a new one. `alone`: nobody but policies and channels has anything in the
    /// catalog.
    pub async fn run(
        &self,
        every: Duration,
        alone: bool,
        watcher: &dyn Watcher,
        wake: &Notify,
        stop: &CancellationToken,
    ) {
        while !self.standing.is_empty() {
            let round = async {
                Box::pin(self.round(watcher)).await;
                if alone {
                    self.tidy().await;
                }
            };
            let next = async {
                round.await;
                tokio::select! {
                    () = wake.notified() => {}
                    () = sleep(every) => {}
                    () = self.until_news(watcher) => {}
                }
            };
            if stop.run_until_cancelled(next).await.is_none() {
                return;
            }
        }
    }

    /// Asks for the lists that are to be asked for more often, until one is new. Of all the rest, and of all other channels,
    /// nothing is done for these: that goes through every narinfo.
    async fn until_news(&self, watcher: &dyn Watcher) {
        loop {
            let Some(pause) = self.standing.iter().filter_map(Standing::left).min() else {
                return std::future::pending().await;
            };
            sleep(pause).await;
            for standing in self.standing.iter().filter(|standing| standing.left() == Some(Duration::ZERO)) {
                let newest = || standing.revisions().first().map(|revision| revision.id.clone());
                let before = newest();
                self.lists.look(standing).await;
                watcher.moved();
                if newest() != before {
                    return;
                }
            }
        }
    }

    /// Looks at each channel once that is due, and brings what is not here of the revisions that are kept.
    pub async fn round(&self, watcher: &dyn Watcher) -> Outcome {
        let mut round = Round { watcher, outcome: Outcome::default() };
        watcher.began();
        for standing in &self.standing {
            if standing.is_due() {
                self.lists.look(standing).await;
            }
            watcher.moved();
            on_disk(watcher, || self.tell_wants());
            self.mend(standing, &mut round).await;
            self.bring(standing, &mut round).await;
        }
        let mut outcome = round.outcome;
        // Another batch may have had it.
        outcome.refused.retain(|hash| !self.lists.tree.holds(hash));
        if !outcome.cut {
            self.syncer.keep_refusals(&outcome.refused).await;
            self.wants.set_refused(Some(outcome.refused.iter().copied().collect()));
        }
        watcher.ended(&outcome);
        outcome
    }

    /// Does something with the disk; `None` when the process ends.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        watcher: &dyn Watcher,
        work: impl FnOnce(&Tree) -> T + Send + 'static,
    ) -> Option<T> {
        let tree = Arc::clone(&self.lists.tree);
        watcher.on_disk(true);
        let done = tokio::task::spawn_blocking(move || work(&tree)).await;
        watcher.on_disk(false);
        done.ok()
    }

    /// Removes from the catalog what neither a policy nor a channel wants. For a mirror without pull-through, which nobody else
    /// puts anything there for; not while a round runs.
    pub async fn tidy(&self) {
        let (tree, wants) = (Arc::clone(&self.lists.tree), Arc::clone(&self.wants));
        let tidy = move || match wants.now() {
            Some(wanted) => tree.prune_catalog(&tree.closed(wanted.all().collect())),
            None => Ok(0),
        };
        if let Ok(Err(error)) = tokio::task::spawn_blocking(tidy).await {
            tracing::warn!(%error, "cannot tidy up the catalog");
        }
    }

    /// How far each channel is. `every`: how often its list is asked for, if it does not say.
    #[must_use]
    pub fn reports(&self, now: Timestamp, every: Duration) -> Vec<ChannelReport> {
        self.standing.iter().map(|standing| standing.report(now, every)).collect()
    }

    /// The revisions that are kept of a channel, the newest first.
    #[must_use]
    pub fn revisions(&self, name: &str) -> Vec<Revision> {
        let standing = self.standing.iter().find(|standing| standing.channel.name == name);
        standing.map(Standing::revisions).unwrap_or_default()
    }

    /// Changes what is kept, on disk too, and what is wanted by it. Blocks on the disk.
    pub(super) fn change(
        &self,
        standing: &Standing,
        change: impl FnOnce(&mut State),
    ) -> Result<(), TreeError> {
        self.lists.change(standing, change)?;
        self.tell_wants();
        Ok(())
    }

    /// Says what all kept revisions list. Before the first list of a channel, and when one cannot be read, nobody knows what is
    /// wanted. Blocks on the disk.
    fn tell_wants(&self) {
        let mut wanted = HashParts::default();
        for standing in &self.standing {
            let revisions = standing.revisions();
            if revisions.is_empty() {
                return self.wants.set_channels(None);
            }
            for revision in revisions {
                let Ok(paths) = self.lists.read(standing, &revision) else {
                    return self.wants.set_channels(None);
                };
                let listed = paths.map(|path| path.hash_part());
                if revision.complete.is_some() {
                    wanted.extend(listed);
                } else {
                    // Nothing published may refer yet to what came for something that is still to come.
                    wanted.extend(self.lists.tree.closed(listed.collect()).iter());
                }
            }
        }
        self.wants.set_channels(Some(wanted));
    }
}

/// Does something with the disk.
pub(super) fn on_disk<T>(watcher: &dyn Watcher, work: impl FnOnce() -> T) -> T {
    watcher.on_disk(true);
    let done = tokio::task::block_in_place(work);
    watcher.on_disk(false);
    done
}
