//! What a mirror asks of its sources: requests and bytes by source, and the work of verifying.

use std::time::Duration;

use granary_fetch::watch::{Asked, Outcome};
use granary_fetch::{Source, SourceKind};
use prometheus::{Histogram, IntCounterVec, IntGauge};

use super::make::Maker;

/// The label of all other mirrors together: there may be a thousand of them.
const MIRRORS: &str = "mirrors";

/// Requests, bytes and verifications.
#[derive(Debug)]
pub struct FetchMetrics {
    requests: IntCounterVec,
    bytes: IntCounterVec,
    transfers: IntGauge,
    verifications: IntGauge,
    verify_seconds: Histogram,
}

impl FetchMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: make.counters(
                "source_requests_total",
                "Requests to upstreams and other mirrors, by what was asked for and what came of it",
                &["source", "asked", "result"],
            )?,
            bytes: make.counters(
                "source_bytes_total",
                "Bytes of NAR files received from upstreams and other mirrors",
                &["source"],
            )?,
            transfers: make.gauge("transfers", "NAR files that are being received now")?,
            verifications: make.gauge("verifications", "NAR files that are being verified now")?,
            verify_seconds: make.seconds(
                "verify_duration_seconds",
                "How long it took to decompress and verify one NAR file",
                0.001,
                4.0,
                10,
            )?,
        })
    }

    /// Shows every series of these sources from the start.
    pub fn sources<'s>(&self, sources: impl IntoIterator<Item = &'s Source>) {
        for source in sources {
            for (asked, result) in ASKED.iter().flat_map(|asked| RESULTS.map(|result| (*asked, result))) {
                self.requests.with_label_values(&[&label(source), asked_label(asked), result_label(result)]);
            }
            self.bytes.with_label_values(&[label(source)]);
        }
    }

    /// Counts a request.
    pub fn asked(&self, source: &Source, what: Asked, outcome: Outcome) {
        self.requests.with_label_values(&[&label(source), asked_label(what), result_label(outcome)]).inc();
    }

    /// Counts bytes.
    pub fn received(&self, source: &Source, bytes: usize) {
        self.bytes.with_label_values(&[label(source)]).inc_by(bytes as u64);
    }

    /// Counts what runs.
    pub fn running(&self, transfers: i64, verifications: i64) {
        self.transfers.add(transfers);
        self.verifications.add(verifications);
    }

    /// Counts a verification.
    pub fn verified(&self, time: Duration) {
        self.verify_seconds.observe(time.as_secs_f64());
    }
}

const ASKED: [Asked; 3] = [Asked::NarInfo, Asked::Nar, Asked::Extra];
const RESULTS: [Outcome; 5] =
    [Outcome::Ok, Outcome::Absent, Outcome::Failed, Outcome::Unreachable, Outcome::Silent];

fn label(source: &Source) -> String {
    match source.kind {
        SourceKind::Upstream => source.url.to_string(),
        SourceKind::Mirror => MIRRORS.to_owned(),
    }
}

const fn asked_label(asked: Asked) -> &'static str {
    match asked {
        Asked::NarInfo => "narinfo",
        Asked::Nar => "nar",
        Asked::Extra => "extra",
    }
}

const fn result_label(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Absent => "absent",
        Outcome::Failed => "failed",
        Outcome::Unreachable => "unreachable",
        Outcome::Silent => "silent",
    }
}

#[cfg(test)]
mod tests {

    use super::super::Metrics;
    use super::*;

    fn source(url: &str, kind: SourceKind) -> Source {
        Source::new(url.parse().unwrap(), granary_nix::Trust::default(), 0, kind)
    }

    #[test]
    fn all_other_mirrors_are_one_series() {
        let metrics = Metrics::new().unwrap();
        let upstream = source("https://a.example", SourceKind::Upstream);
        metrics.fetch.sources([&upstream]);
        for number in 0..1000 {
            let mirror = source(&format!("http://m{number}"), SourceKind::Mirror);
            metrics.fetch.asked(&mirror, Asked::Nar, Outcome::Silent);
            metrics.fetch.received(&mirror, 7);
        }
        let text = metrics.text().unwrap();
        for line in [
            "granary_mirror_source_requests_total{asked=\"narinfo\",result=\"ok\",source=\"https://a.example\"} 0",
            "granary_mirror_source_requests_total{asked=\"nar\",result=\"silent\",source=\"mirrors\"} 1000",
            "granary_mirror_source_bytes_total{source=\"mirrors\"} 7000",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
        assert_eq!(text.matches("granary_mirror_source_bytes_total{").count(), 2);
    }
}
