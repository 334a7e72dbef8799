//! The channels that the policies of the mirror map name.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use granary_fetch::WebClient;
use granary_nix::StorePath;
use granary_placement as placement;
use granary_placement::report::{ChannelReport, Refusal};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Lists, Standing};
use crate::config::Channel;
use crate::sync::Roots;
use crate::tree::Tree;

/// Follows the channels of a map that changes. What they list are roots of the policies that name them.
#[derive(Debug)]
pub struct Followed {
    lists: Lists,
    standing: Mutex<Vec<Arc<Standing>>>,
    /// There is another channel than before.
    another: Notify,
}

/// The revisions whose lists were taken for roots: the channels' URLs, and the revisions' ids.
pub type Taken = BTreeSet<(String, String)>;

impl Followed {
    /// Follows nothing yet.
    #[must_use]
    pub fn new(tree: Arc<Tree>, client: WebClient) -> Self {
        Self { lists: Lists::new(tree, client), standing: Mutex::default(), another: Notify::new() }
    }

    /// These are to be followed, and no others. Blocks on the disk.
    pub fn adopt<'c>(&self, channels: impl Iterator<Item = &'c placement::Channel>) {
        let mut wanted: Vec<Channel> = Vec::new();
        for channel in channels.filter_map(Channel::of_map) {
            match wanted.iter_mut().find(|known| known.url == channel.url) {
                // Who keeps fewer takes fewer of them.
                Some(known) => known.keep = known.keep.max(channel.keep),
                None => wanted.push(channel),
            }
        }
        let before = self.all();
        let mut another = false;
        let standing = wanted.into_iter().map(|channel| {
            let known = before.iter().find(|known| known.channel == channel);
            known.cloned().unwrap_or_else(|| {
                another = true;
                Arc::new(self.lists.stand(&channel))
            })
        });
        let standing = standing.collect();
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
        if another {
            self.another.notify_one();
        }
    }

    /// What these channels list, of so many revisions as each says. Blocks on the disk.
    #[must_use]
    pub fn take(&self, channels: &[placement::Channel]) -> (Roots, Taken) {
        let all = self.all();
        let (mut roots, mut taken) = (Roots::default(), Taken::new());
        let mut listed: HashSet<StorePath> = HashSet::new();
        for channel in channels.iter().filter_map(Channel::of_map) {
            let standing = all.iter().find(|standing| standing.channel.url == channel.url);
            let revisions = standing.map(|standing| standing.now().state.wanted_by(channel.keep));
            let revisions = revisions.unwrap_or_default();
            if revisions.is_empty() {
                let trouble = standing.and_then(|standing| standing.now().trouble.clone());
                let trouble = trouble.unwrap_or_else(|| "it was not looked at yet".into());
                roots.unknown = Some(format!("the channel {}: {trouble}", channel.url));
            }
            for (standing, revision) in
                standing.into_iter().flat_map(|it| revisions.iter().map(move |r| (it, r)))
            {
                match self.lists.read(standing, revision) {
                    Ok(paths) => listed.extend(paths),
                    Err(error) => {
                        let reason =
                            format!("the list of the channel {} cannot be read: {error}", channel.url);
                        roots.unknown = Some(reason);
                    }
                }
                taken.insert((channel.url.to_string(), revision.id.clone()));
            }
        }
        roots.listed = listed.into_iter().collect();
        roots.listed.sort_unstable();
        (roots, taken)
    }

    /// Everything of these revisions is here that this mirror is to hold, except what was refused. Blocks on the disk.
    pub fn completed(&self, revisions: &Taken, now: Timestamp) {
        for standing in self.all() {
            let url = standing.channel.url.as_str();
            let open = standing.revisions().into_iter().filter(|revision| revision.complete.is_none());
            for revision in open.filter(|revision| revisions.contains(&(url.to_owned(), revision.id.clone())))
            {
                let refused = standing.now().refused;
                let keep = standing.channel.keep;
                let change =
                    self.lists.change(&standing, |state| state.completed(&revision.id, refused, now, keep));
                match change {
                    Ok(()) => tracing::info!(url, revision = revision.url, refused, "a revision is complete"),
                    Err(error) => tracing::error!(%error, "the state of a channel cannot be kept"),
                }
            }
        }
    }

    /// Counts what is here of the newest revisions, and what was refused. Blocks on the disk.
    pub fn count(&self, refused: &[Refusal]) {
        let refused: HashSet<&str> = refused.iter().map(|refusal| refusal.store_path.as_str()).collect();
        for standing in self.all() {
            let Some(newest) = standing.revisions().into_iter().next() else { continue };
            let Ok(paths) = self.lists.read(&standing, &newest) else { continue };
            let (mut here, mut bad) = (0, 0);
            for path in paths {
                here += u64::from(self.lists.tree.holds(&path.hash_part()));
                bad += u64::from(!refused.is_empty() && refused.contains(path.to_string().as_str()));
            }
            let mut now = standing.now();
            (now.published, now.refused) = (here, bad);
        }
    }

    /// Looks at those that were not looked at for so long; at one of which nothing is known, twenty times as often. Says
    /// whether anything is to be had that was not before.
    pub async fn look(&self, every: Duration) -> bool {
        let mut found = false;
        for standing in self.all() {
            let known = standing.revisions();
            let wait = if known.is_empty() { every / 20 } else { every };
            let looked = standing.now().looked;
            if looked.is_none_or(|looked| looked.elapsed() >= wait) {
                self.lists.look(&standing).await;
                found |= known.first().map(|it| &it.id) != standing.revisions().first().map(|it| &it.id);
            }
        }
        found
    }

    /// Looks until `stop`, and wakes who waits for `found`.
    pub async fn run(&self, every: Duration, found: &Notify, stop: &CancellationToken) {
        loop {
            match stop.run_until_cancelled(self.look(every)).await {
                None => return,
                Some(true) => found.notify_one(),
                Some(false) => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.another.notified() => {}
                () = tokio::time::sleep(every / 20) => {}
            }
        }
    }

    /// How far each channel is. `every`: how often its list is asked for.
    #[must_use]
    pub fn reports(&self, now: Timestamp, every: Duration) -> Vec<ChannelReport> {
        self.all().iter().map(|standing| standing.report(now, every)).collect()
    }

    fn all(&self) -> Vec<Arc<Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
