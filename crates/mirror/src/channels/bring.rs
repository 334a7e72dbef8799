//! Getting what a revision lists, in batches: only one batch and its closure are in memory, however long the list.

use std::fs::File;
use std::io::{BufRead as _, BufReader};

use granary_nix::StorePath;
use jiff::Timestamp;

use super::own::on_disk;
use super::round::Round;
use super::{Channels, Revision, Standing};
use crate::tree::Tree;

/// Store paths that are asked for together.
pub(super) const BATCH: usize = 500;
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
    pub(super) async fn bring(&self, standing: &Standing, round: &mut Round<'_>) {
        let revisions = standing.revisions();
        for (number, revision) in revisions.iter().enumerate() {
            // A newer one may have become complete meanwhile.
            if standing.revisions().iter().any(|kept| kept.id == revision.id) {
                let through = self.bring_one(standing, revision, number == 0, round).await;
                round.outcome.cut |= !through;
            }
        }
    }

    /// Whether it came to the end of the list.
    async fn bring_one(
        &self,
        standing: &Standing,
        revision: &Revision,
        newest: bool,
        round: &mut Round<'_>,
    ) -> bool {
        let path = self.lists.path(&standing.channel, &revision.id);
        let mut place = match File::open(&path) {
            Ok(file) => Place { list: BufReader::new(file), here: 0 },
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the list of a revision cannot be read");
                return false;
            }
        };
        let (mut refused, mut settled, mut fruitless) = (0, true, 0);
        loop {
            let read = self.blocking(round.watcher, move |tree| next(tree, place)).await;
            let Some((at, absent)) = read.flatten() else { return false };
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
            let outcome = self.pass(standing, &absent, round).await;
            let here = absent.iter().filter(|path| self.lists.tree.holds(&path.hash_part())).count() as u64;
            place.here += here;
            refused += count - here;
            settled &= outcome.is_synced();
            told(place.here, refused);
            fruitless = if outcome.is_synced() || outcome.published > 0 { 0 } else { fruitless + 1 };
            if fruitless == PATIENCE {
                return false;
            }
        }
        if settled && fruitless == 0 {
            self.complete(standing, revision, refused, round);
        }
        true
    }

    fn complete(&self, standing: &Standing, revision: &Revision, refused: u64, round: &Round<'_>) {
        let keep = standing.channel.keep;
        let changed = on_disk(round.watcher, || {
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

/// The next store paths of a list that are not here; none at its end. Blocks on the disk.
fn next(tree: &Tree, mut place: Place) -> Option<(Place, Vec<StorePath>)> {
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
}
