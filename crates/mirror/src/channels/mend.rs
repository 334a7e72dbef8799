//! What went missing under what is here: things that a channel does not list, and that something listed refers to.

use granary_nix::StorePath;

use super::bring::BATCH;
use super::round::Round;
use super::{Channels, Standing};

impl Channels {
    /// Brings again what rotted of the closure of what the channel lists. What is listed itself, [`Self::bring`] sees.
    pub(super) async fn mend(&self, standing: &Standing, round: &mut Round<'_>) {
        let (lists, revisions) = (self.lists.clone(), standing.revisions());
        let files: Vec<_> = revisions.iter().map(|it| lists.path(&standing.channel, &it.id)).collect();
        let find = move |tree: &crate::tree::Tree| {
            let listed = files.iter().filter_map(|file| super::lists::read(file).ok()).flatten();
            tree.torn(listed.map(|path| path.hash_part()))
        };
        let torn: Vec<StorePath> = self.blocking(round.watcher, find).await.unwrap_or_default();
        for some in torn.chunks(BATCH) {
            self.pass(standing, some, round).await;
        }
    }
}
