//! What a mirror counts, for Prometheus. Labels have few values: never a path, a hash or a message. The book's page
//! "Watching it" has a row for each; a test compares them.

mod channels;
mod extras;
mod fetch;
mod machine;
mod make;
mod push;
mod scrub;
mod through;
mod tls;
mod upkeep;

use std::sync::Arc;

use granary_placement::report::{self, RefusalReason, Report};
use prometheus::{
    Encoder as _, Gauge, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder,
};

pub use extras::{ExtraAnswer, ExtraMetrics, ExtraResult};
pub use fetch::FetchMetrics;
pub use machine::{Connections, MachineMetrics};
use make::Maker;
pub use through::{LookupResult, ThroughMetrics};
pub use tls::TlsMetrics;

/// What became of a request for a NAR that is not in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissResult {
    /// Passed on from another mirror.
    Mirror,
    /// Passed on from an upstream.
    Upstream,
    /// No artifact here or elsewhere has this NAR file.
    NotFound,
    /// Too many at once.
    Busy,
    /// No source gave it.
    Failed,
    /// Gone on with from another source, when one broke off in the middle; beside what it counts as.
    GoneOn,
    /// Cut in the middle: no source had the rest, or the bytes were wrong; beside what it counts as.
    Cut,
}

impl MissResult {
    const ALL: [Self; 7] =
        [Self::Mirror, Self::Upstream, Self::NotFound, Self::Busy, Self::Failed, Self::GoneOn, Self::Cut];

    const fn label(self) -> &'static str {
        match self {
            Self::Mirror => "mirror",
            Self::Upstream => "upstream",
            Self::NotFound => "not-found",
            Self::Busy => "busy",
            Self::Failed => "failed",
            Self::GoneOn => "gone-on",
            Self::Cut => "cut",
        }
    }
}

/// All metrics of one mirror.
#[derive(Debug)]
pub struct Metrics {
    make: Maker,
    /// What is asked of sources.
    pub fetch: FetchMetrics,
    /// How far the channels are.
    channels: channels::ChannelMetrics,
    /// Disk, nginx, uptime.
    pub machine: MachineMetrics,
    artifacts: IntGauge,
    published_bytes: IntGauge,
    refused: IntGauge,
    refused_total: IntCounterVec,
    passes: IntCounterVec,
    pass_seconds: Histogram,
    last_pass: Gauge,
    queue: IntGauge,
    policy_artifacts: IntGaugeVec,
    policy_lag: IntGaugeVec,
    upstream_up: IntGaugeVec,
    map_epoch: IntGauge,
    front_ready: IntGauge,
    /// Pull-through.
    pub through: Arc<ThroughMetrics>,
    misses: IntCounterVec,
    miss_bytes: IntCounter,
    /// What clients pushed.
    pub push: push::PushMetrics,
    /// How the mirror keeps what it has.
    pub upkeep: upkeep::Upkeep,
    /// The scrub.
    pub scrub: scrub::Scrub,
    /// The certificate of the front.
    pub tls: Arc<TlsMetrics>,
    extras: ExtraMetrics,
}

impl Metrics {
    /// Registers everything, with every label value that is known beforehand at 0.
    pub fn new() -> Result<Self, prometheus::Error> {
        let make = Maker::new()?;
        let metrics = Self {
            fetch: FetchMetrics::new(&make)?,
            channels: channels::ChannelMetrics::new(&make)?,
            machine: MachineMetrics::new(&make)?,
            artifacts: make.gauge("artifacts", "Artifacts published in the tree")?,
            published_bytes: make.gauge("published_bytes", "Bytes of the NAR files published in the tree")?,
            refused: make.gauge("refused", "Refusals that stand")?,
            refused_total: make.counters(
                "refused_total",
                "Artifacts refused, each time it happened",
                &["reason"],
            )?,
            passes: make.counters(
                "passes_total",
                "Passes over the policies, by whether something was left to do",
                &["result"],
            )?,
            pass_seconds: make.seconds("pass_duration_seconds", "How long passes took", 0.05, 3.0, 12)?,
            last_pass: make.float("last_pass_timestamp_seconds", "When the last pass ended, Unix time")?,
            queue: make.gauge("queue_artifacts", "Artifacts that the running pass has still to get")?,
            policy_artifacts: make.gauges(
                "policy_artifacts",
                "Artifacts of a policy on this mirror",
                &["policy", "state"],
            )?,
            policy_lag: make.gauges(
                "policy_lag_seconds",
                "How long something of a policy has been missing here; 0 when nothing is",
                &["policy"],
            )?,
            upstream_up: make.gauges("upstream_up", "Whether an upstream last answered", &["upstream"])?,
            map_epoch: make.gauge("map_epoch", "Epoch of the mirror map in force; 0 without one")?,
            front_ready: make.gauge("front_ready", "Whether the files that nginx serves by are rendered")?,
            through: Arc::new(ThroughMetrics::new(make.registry())?),
            misses: make.counters(
                "misses_total",
                "Requests for NAR files that are not in the tree",
                &["result"],
            )?,
            miss_bytes: make.counter("miss_bytes_total", "Bytes passed on for misses")?,
            tls: Arc::new(TlsMetrics::register(make.registry())?),
            extras: ExtraMetrics::new(make.registry())?,
            push: push::PushMetrics::new(make.registry())?,
            upkeep: upkeep::Upkeep::new(make.registry())?,
            scrub: scrub::Scrub::new(make.registry())?,
            make: make.clone(),
        };
        let build = make.gauges("build_info", "The running version", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        for reason in RefusalReason::ALL {
            metrics.refused_total.with_label_values(&[reason.as_str()]);
        }
        for result in ["done", "left"] {
            metrics.passes.with_label_values(&[result]);
        }
        for result in MissResult::ALL {
            metrics.misses.with_label_values(&[result.label()]);
        }
        Ok(metrics)
    }

    /// Files beside artifacts.
    #[must_use]
    pub fn extras(&self) -> &ExtraMetrics {
        &self.extras
    }

    /// Takes over what the report says.
    pub fn set_report(&self, report: &Report) {
        self.artifacts.set(clamp(report.artifacts));
        self.published_bytes.set(clamp(report.bytes));
        self.refused.set(clamp(report.refused_total));
        self.map_epoch.set(clamp(report.epoch));
        self.front_ready.set(i64::from(report.front_ready));
        // A policy or upstream that is gone takes its series with it.
        self.upstream_up.reset();
        for report::UpstreamReport { url, ok, message: _ } in &report.upstreams {
            self.upstream_up.with_label_values(&[url.as_str()]).set(i64::from(*ok));
        }
        self.policy_artifacts.reset();
        self.channels.set(&report.channels);
        for policy in &report.policies {
            let states =
                [("assigned", policy.assigned), ("verified", policy.verified), ("refused", policy.refused)];
            for (state, count) in states {
                self.policy_artifacts.with_label_values(&[policy.name.as_str(), state]).set(clamp(count));
            }
        }
    }

    /// What the running pass has left, and how long each policy has been incomplete, in seconds.
    pub fn set_progress<'p>(&self, queue: u64, lags: impl IntoIterator<Item = (&'p str, u64)>) {
        self.queue.set(clamp(queue));
        self.policy_lag.reset();
        for (policy, seconds) in lags {
            self.policy_lag.with_label_values(&[policy]).set(clamp(seconds));
        }
    }

    /// Counts a pass that ended at `now` (Unix seconds). `done`: it left nothing to do, except what is refused.
    pub fn pass(&self, seconds: f64, now: f64, done: bool) {
        self.pass_seconds.observe(seconds);
        self.last_pass.set(now);
        self.passes.with_label_values(&[if done { "done" } else { "left" }]).inc();
    }

    /// Counts a refusal.
    pub fn refusal(&self, reason: RefusalReason) {
        self.refused_total.with_label_values(&[reason.as_str()]).inc();
    }

    /// Counts a miss.
    pub fn miss(&self, result: MissResult) {
        self.misses.with_label_values(&[result.label()]).inc();
    }

    /// Counts bytes passed on.
    pub fn miss_bytes(&self, bytes: usize) {
        self.miss_bytes.inc_by(bytes as u64);
    }

    /// The exposition text.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut families = self.make.registry().gather();
        // The process's own metrics keep their standard names.
        families.extend(prometheus::gather());
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

fn clamp(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_and_result_is_there_from_the_start() {
        let text = Metrics::new().unwrap().text().unwrap();
        for line in [
            "granary_mirror_refused_total{reason=\"nar-hash\"} 0",
            "granary_mirror_misses_total{result=\"cut\"} 0",
            "granary_mirror_passes_total{result=\"done\"} 0",
            "granary_mirror_map_epoch 0",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("granary_mirror_refused_total{").count(), RefusalReason::ALL.len());
    }
}
