//! Pull-through.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::clamp;

/// What came of asking all upstreams for a narinfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LookupResult {
    /// One had it.
    Found,
    /// None has it.
    Absent,
    /// Not all answered.
    Unknown,
}

/// What clients asked for beyond what is wanted here.
#[derive(Debug)]
pub struct ThroughMetrics {
    lookups: IntCounterVec,
    flights: IntCounterVec,
    kept: IntCounter,
    kept_bytes: IntCounter,
    reclaimed: IntCounter,
    reclaimed_bytes: IntCounter,
    guests: IntGauge,
    guest_bytes: IntGauge,
}

impl ThroughMetrics {
    /// Registers everything, with every label value at 0.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["result"])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let metrics = Self {
            lookups: counters("pull_through_narinfos_total", "Narinfos that the upstreams were asked for")?,
            flights: counters("pull_through_nars_total", "NAR files fetched for clients")?,
            kept: counter("pull_through_kept_total", "Artifacts published because a client asked for them")?,
            kept_bytes: counter("pull_through_kept_bytes_total", "Bytes of their NAR files")?,
            reclaimed: counter(
                "pull_through_reclaimed_total",
                "Artifacts taken out to make room for others",
            )?,
            reclaimed_bytes: counter("pull_through_reclaimed_bytes_total", "Bytes of their NAR files")?,
            guests: gauge("pull_through_artifacts", "Artifacts here only because a client asked for them")?,
            guest_bytes: gauge("pull_through_bytes", "Bytes of NAR files here only because a client asked")?,
        };
        for result in ["found", "absent", "unknown"] {
            metrics.lookups.with_label_values(&[result]);
        }
        for result in ["whole", "failed"] {
            metrics.flights.with_label_values(&[result]);
        }
        Ok(metrics)
    }

    /// The upstreams were asked.
    pub fn lookup(&self, result: LookupResult) {
        let label = match result {
            LookupResult::Found => "found",
            LookupResult::Absent => "absent",
            LookupResult::Unknown => "unknown",
        };
        self.lookups.with_label_values(&[label]).inc();
    }

    /// A NAR file has come, or could not be had.
    pub fn flight(&self, whole: bool) {
        self.flights.with_label_values(&[if whole { "whole" } else { "failed" }]).inc();
    }

    /// An artifact was taken out.
    pub fn reclaimed(&self, bytes: u64) {
        self.reclaimed.inc();
        self.reclaimed_bytes.inc_by(bytes);
    }

    /// What is here only because clients asked for it.
    pub fn guests(&self, artifacts: usize, bytes: u64) {
        self.guests.set(clamp(artifacts as u64));
        self.guest_bytes.set(clamp(bytes));
    }

    /// An artifact was published.
    pub fn kept(&self, bytes: u64) {
        self.kept.inc();
        self.kept_bytes.inc_by(bytes);
    }
}
