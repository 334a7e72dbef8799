//! Runs the scrub beside the passes, and tells of it.

use std::sync::Arc;

use granary_placement::report::ScrubReport;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::status::Status;
use super::suspects;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::scrub::round::Round;
use crate::scrub::{Scrubber, Standing, Watcher};
use crate::tree::Tree;

/// Who is told.
pub(super) struct Told {
    pub status: Arc<Status>,
    pub metrics: Arc<Metrics>,
    pub wakes: Wakes,
}

/// Who is to look at once, because something is missing or can be had again: the passes over the policies, and the rounds over
/// the channels.
#[derive(Clone, Debug, Default)]
pub(super) struct Wakes {
    pub passes: Arc<Notify>,
    pub rounds: Arc<Notify>,
}

impl Wakes {
    pub(super) fn all(&self) {
        self.passes.notify_one();
        self.rounds.notify_one();
    }
}

/// Suspects that wait to be looked at.
const SUSPECTS: usize = 1024;

/// Scrubs until `stop`, if the configuration says so; what nginx cannot read is looked at in any case.
pub(super) async fn scrub(config: &Config, tree: Arc<Tree>, told: Told, stop: CancellationToken) {
    let (name, suspects) = mpsc::channel(SUSPECTS);
    let listen = suspects::listen(config.front_directory.clone(), Arc::clone(&tree), name, stop.clone());
    let rules = config.scrub.unwrap_or_default();
    let scrubber = Scrubber::open(tree, config.trust(), rules).with_suspects(suspects);
    let scrub = async {
        match config.scrub {
            Some(_) => scrubber.run(&told, stop).await,
            None => scrubber.run_suspects(&told, stop).await,
        }
    };
    tokio::join!(listen, scrub);
}

impl Watcher for Told {
    fn standing(&self, standing: &Standing) {
        let Standing { round, artifacts, total, late, failing } = standing;
        let Round { began, elapsed: _, kept: _, after: _, bytes, artifacts: read, ended, rotten } = round;
        let report = ScrubReport {
            began: began.to_string(),
            read_artifacts: *read,
            artifacts: *artifacts,
            read_bytes: *bytes,
            bytes: *total,
            ended: ended.map(|time| time.to_string()),
            rotten: *rotten,
            trouble: late.clone().or_else(|| failing.clone()),
        };
        self.metrics.scrub.standing(standing);
        self.status.upkeep(|upkeep| upkeep.scrub = Some(report));
    }

    fn read(&self, bytes: u64) {
        self.metrics.scrub.read(bytes);
    }

    fn rotten(&self, kind: &'static str, missing: bool) {
        self.metrics.scrub.rotten(kind);
        if missing {
            self.wakes.all();
        }
    }
}
