//! Runs the scrub beside the passes, and tells of it.

use std::sync::Arc;

use granary_placement::report::ScrubReport;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::status::Status;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::scrub::round::Round;
use crate::scrub::{Scrubber, Standing, Watcher};
use crate::tree::Tree;

/// Who is told.
pub(super) struct Told {
    pub status: Arc<Status>,
    pub metrics: Arc<Metrics>,
    /// Begins a pass: something is missing.
    pub wake: Arc<Notify>,
}

/// Scrubs until `stop`, if the configuration says so.
pub(super) async fn scrub(config: &Config, tree: Arc<Tree>, told: Told, stop: CancellationToken) {
    let Some(rules) = config.scrub else { return };
    Scrubber::open(tree, config.trust(), rules).run(&told, stop).await;
}

impl Watcher for Told {
    fn standing(&self, standing: &Standing) {
        let Standing { round, artifacts, total, late, failing } = standing;
        let Round { began, after: _, bytes, artifacts: read, ended, rotten } = round;
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
            self.wake.notify_one();
        }
    }
}
