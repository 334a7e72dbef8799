//! Runs the rounds over the mirror's own channels, and tells status, metrics and the heart of them.

use std::sync::Arc;
use std::time::Instant;

use granary_nix::StorePath;
use granary_placement::report::{PolicyReport, Refusal};
use tokio_util::sync::CancellationToken;

use super::heart::Loop;
use super::scrub::Wakes;
use super::work::Watcher;
use crate::channels::{self, Channels, RoundOutcome};
use crate::config::Config;
use crate::refusals::Origin;
use crate::sync::Observer;

/// Rounds until `stop`.
pub(super) fn run(
    channels: Arc<Channels>,
    config: &Config,
    watcher: Arc<Watcher>,
    wakes: &Wakes,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let (every, alone) = (super::look_every(config), config.pull_through.is_none());
    let wake = Arc::clone(&wakes.rounds);
    async move { channels.run(every, alone, &OfChannels(watcher), &wake, &stop).await }
}

/// The watcher of what is done for channels.
struct OfChannels(Arc<Watcher>);

impl OfChannels {
    fn moved(&self) {
        self.0.heart.moved(Loop::Channels, Instant::now());
    }
}

impl Observer for OfChannels {
    /// A part of a channel is no policy; how far the channel is, it says itself.
    fn progress(&self, _: &[PolicyReport]) {
        self.moved();
    }

    fn published(&self, _: &StorePath, _: u64) {
        self.moved();
    }

    fn queued(&self, _: u64) {
        self.moved();
    }

    fn on_disk(&self, begins: bool) {
        self.0.heart.disk(Loop::Channels, begins, Instant::now());
    }

    fn refused(&self, refusal: &Refusal, again: bool) {
        self.0.refusals.met(Origin::Channel, refusal, again);
    }
}

impl channels::Watcher for OfChannels {
    fn began(&self) {
        self.0.heart.pass(Loop::Channels, true, Instant::now());
    }

    fn moved(&self) {
        self.moved();
    }

    fn ended(&self, outcome: &RoundOutcome) {
        let RoundOutcome { published: _, published_bytes: _, refused, cut } = outcome;
        self.0.heart.pass(Loop::Channels, false, Instant::now());
        self.0.refusals.round_ended(refused, *cut);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use granary_fetch::Limits;
    use granary_nix::CacheInfo;
    use granary_placement::report::RefusalReason;

    use super::super::heart::Heart;
    use super::super::status::{Status, unresolved};
    use super::*;
    use crate::channels::Watcher as _;
    use crate::metrics::Metrics;
    use crate::refusals::Refusals;
    use crate::tree::{Totals, Tree};

    #[test]
    fn a_round_is_told_to_the_heart_its_refusals_to_report_and_metrics_and_its_parts_to_nobody() {
        let start = Instant::now();
        let (temp, metrics) = (tempfile::tempdir().unwrap(), Arc::new(Metrics::new().unwrap()));
        let tree = Arc::new(Tree::open(temp.path(), &CacheInfo::default()).unwrap());
        let watcher = Arc::new(Watcher {
            status: Arc::new(Status::new("lan".parse().unwrap())),
            refusals: Arc::new(Refusals::new(tree, Arc::clone(&metrics))),
            metrics,
            heart: Arc::new(Heart::new(start, &Limits::default())),
        });
        let late = start + Duration::from_hours(1);
        let of_channels = OfChannels(Arc::clone(&watcher));
        assert_eq!(watcher.heart.stuck(late), None);
        of_channels.began();
        assert!(watcher.heart.stuck(late).is_some(), "it began and nothing happens");
        of_channels.on_disk(true);
        assert_eq!(watcher.heart.stuck(late), None, "a disk is given more time");
        of_channels.on_disk(false);

        of_channels.progress(&[unresolved("stable")]);
        let path = "/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0";
        let refusal = Refusal {
            store_path: path.into(),
            reason: RefusalReason::NarHash,
            message: String::new(),
            source: String::new(),
        };
        of_channels.refused(&refusal, false);
        let hash = StorePath::parse(path).unwrap().hash_part();
        of_channels.ended(&RoundOutcome { refused: HashSet::from([hash]), ..RoundOutcome::default() });
        assert_eq!(watcher.heart.stuck(late), None);
        assert!(watcher.status.report("", Totals::default()).policies.is_empty());
        assert_eq!(watcher.refusals.newest(9), (vec![refusal], 1));
        let text = watcher.metrics.text().unwrap();
        assert!(text.contains("granary_mirror_refused_total{reason=\"nar-hash\"} 1"), "{text}");

        of_channels.began();
        of_channels.ended(&RoundOutcome::default());
        assert_eq!(watcher.refusals.newest(9), (vec![], 0));
    }
}
