//! The channels of a mirror's own configuration: all of what they list is kept here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use granary_fetch::{Source, WebClient};
use granary_nix::HashPart;
use granary_placement::report::ChannelReport;
use jiff::Timestamp;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Lists, Revision, Standing, State};
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
    wants: Arc<Wants>,
    standing: Vec<Standing>,
}

impl Channels {
    /// With what was kept on disk. `syncer` must be one for parts of what is wanted. Blocks on the disk.
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
        let channels = Self { lists, syncer, sources: sources.to_vec(), wants, standing };
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
            self.lists.look(standing).await;
            tokio::task::block_in_place(|| self.tell_wants());
            self.bring(standing).await;
        }
    }

    /// Removes from the catalog what neither a policy nor a channel wants. For a mirror without pull-through, which nobody else
    /// puts anything there for; not while a round runs.
    pub async fn tidy(&self) {
        let (tree, wants) = (Arc::clone(&self.lists.tree), Arc::clone(&self.wants));
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

    /// Says what all kept revisions list. When a list cannot be read, nobody knows what is wanted. Blocks on the disk.
    fn tell_wants(&self) {
        let mut wanted: HashSet<HashPart> = HashSet::new();
        for standing in &self.standing {
            for revision in standing.revisions() {
                match self.lists.read(standing, &revision) {
                    Ok(paths) => wanted.extend(paths.map(|path| path.hash_part())),
                    Err(_) => return self.wants.set_channels(None),
                }
            }
        }
        self.wants.set_channels(Some(wanted));
    }
}
