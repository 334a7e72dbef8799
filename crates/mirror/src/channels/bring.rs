//! Getting what a revision lists, in batches: only one batch and its closure are in memory, however long the list.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::sync::Arc;

use granary_nix::StorePath;
use jiff::Timestamp;

use super::{Channels, Revision, Standing};
use crate::sync::{Assigned, Job, PolicyJob};
use crate::tree::Tree;

/// Store paths that are asked for together.
const BATCH: usize = 500;
/// Batches in a row of which nothing could be had, after which a round goes on to the next revision.
const PATIENCE: u32 = 3;

/// Where a round is in a list.
struct Place {
    list: BufReader<File>,
    /// Store paths so far that are here.
    here: u64,
}

impl Channels {
    /// Brings what is not here of every revision that is kept, the newest first.
    pub(super) async fn bring(&self, standing: &Standing) {
        let revisions = standing.revisions();
        for (number, revision) in revisions.iter().enumerate() {
            // A newer one may have become complete meanwhile.
            if standing.revisions().iter().any(|kept| kept.id == revision.id) {
                self.bring_one(standing, revision, number == 0).await;
            }
        }
    }

    async fn bring_one(&self, standing: &Standing, revision: &Revision, newest: bool) {
        let path = self.lists.path(&standing.channel, &revision.id);
        let mut place = match File::open(&path) {
            Ok(file) => Place { list: BufReader::new(file), here: 0 },
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the list of a revision cannot be read");
                return;
            }
        };
        let (mut refused, mut settled, mut fruitless) = (0, true, 0);
        loop {
            let Some((at, absent)) = next(&self.lists.tree, place).await else { return };
            place = at;
            let count = absent.len() as u64;
            let told = |here, refused| {
                if newest {
                    let mut now = standing.now();
                    (now.published, now.refused) = (here, refused);
                }
            };
            if count == 0 {
                told(place.here, refused);
                break;
            }
            let policy = PolicyJob {
                name: standing.channel.name.clone(),
                roots: absent.into_iter().collect(),
                assigned: Assigned::All,
            };
            let job = Job { policies: vec![policy.clone()], sources: self.sources.clone(), elsewhere: None };
            let outcome = self.syncer.pass(&job, &()).await;
            let here =
                policy.roots.iter().filter(|path| self.lists.tree.holds(&path.hash_part())).count() as u64;
            place.here += here;
            refused += count - here;
            settled &= outcome.is_synced();
            told(place.here, refused);
            fruitless = if outcome.is_synced() || outcome.published > 0 { 0 } else { fruitless + 1 };
            if fruitless == PATIENCE {
                break;
            }
        }
        if settled && fruitless == 0 {
            self.complete(standing, revision, refused);
        }
    }

    fn complete(&self, standing: &Standing, revision: &Revision, refused: u64) {
        let keep = standing.channel.keep;
        let changed = tokio::task::block_in_place(|| {
            self.change(standing, |state| state.completed(&revision.id, refused, Timestamp::now(), keep))
        });
        match changed {
            Ok(()) if revision.complete.is_none() => {
                let (channel, url) = (&standing.channel.name, &revision.url);
                tracing::info!(channel, url, paths = revision.paths, refused, "a revision is complete");
            }
            Ok(()) => {}
            Err(error) => tracing::error!(%error, "the state of a channel cannot be kept"),
        }
    }
}

/// The next store paths of a list that are not here; none at its end.
async fn next(tree: &Arc<Tree>, mut place: Place) -> Option<(Place, Vec<StorePath>)> {
    let tree = Arc::clone(tree);
    let read = move || {
        let (mut absent, mut line) = (Vec::new(), String::new());
        while absent.len() < BATCH {
            line.clear();
            // A list of ours that cannot be read is found again with the next revision.
            if place.list.read_line(&mut line).ok()? == 0 {
                break;
            }
            let Ok(path) = StorePath::parse_base_name(line.trim_end()) else { continue };
            if tree.holds(&path.hash_part()) {
                place.here += 1;
            } else {
                absent.push(path);
            }
        }
        Some((place, absent))
    };
    tokio::task::spawn_blocking(read).await.ok()?
}
