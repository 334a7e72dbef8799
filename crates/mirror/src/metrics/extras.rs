//! Files beside artifacts: what was had, and what was asked for.

use granary_nix::ExtraKind;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// What became of the attempt to have a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraResult {
    /// An upstream's file is in the tree.
    Mirrored,
    /// It was made from a NAR.
    Made,
    /// A client pushed it.
    Pushed,
    /// No upstream has it.
    Absent,
    /// An upstream's file, or a client's, is not what it should be.
    Refused,
    /// At least one upstream did not give an answer that counts.
    Failed,
}

impl ExtraResult {
    const ALL: [Self; 6] =
        [Self::Mirrored, Self::Made, Self::Pushed, Self::Absent, Self::Refused, Self::Failed];

    const fn label(self) -> &'static str {
        match self {
            Self::Mirrored => "mirrored",
            Self::Made => "made",
            Self::Pushed => "pushed",
            Self::Absent => "absent",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// How a request for a file that was not in the tree was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraAnswer {
    /// With the file.
    Found,
    /// Nobody has it.
    NotFound,
    /// With 503: too many at once, or a source that may have it did not answer.
    Unavailable,
}

impl ExtraAnswer {
    const ALL: [Self; 3] = [Self::Found, Self::NotFound, Self::Unavailable];

    const fn label(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::NotFound => "not-found",
            Self::Unavailable => "unavailable",
        }
    }
}

/// The counters. A cheap handle.
#[derive(Debug, Clone)]
pub struct ExtraMetrics {
    files: IntCounterVec,
    misses: IntCounterVec,
}

impl ExtraMetrics {
    /// Registers them, with every label value at 0.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counters = |name: &str, help: &str| {
            let counters = IntCounterVec::new(Opts::new(name, help), &["kind", "result"])?;
            registry.register(Box::new(counters.clone()))?;
            Ok::<_, prometheus::Error>(counters)
        };
        let metrics = Self {
            files: counters("extra_files_total", "Attempts to have a file beside an artifact")?,
            misses: counters(
                "extra_misses_total",
                "Requests for files beside artifacts that are not in the tree",
            )?,
        };
        for kind in ExtraKind::ALL {
            for result in ExtraResult::ALL {
                metrics.counter(kind, result).inc_by(0);
            }
            for answer in ExtraAnswer::ALL {
                metrics.misses.with_label_values(&[kind.as_str(), answer.label()]).inc_by(0);
            }
        }
        Ok(metrics)
    }

    /// A file was had, or not.
    pub fn file(&self, kind: ExtraKind, result: ExtraResult) {
        self.counter(kind, result).inc();
    }

    /// A request was answered.
    pub fn miss(&self, kind: ExtraKind, answer: ExtraAnswer) {
        self.misses.with_label_values(&[kind.as_str(), answer.label()]).inc();
    }

    fn counter(&self, kind: ExtraKind, result: ExtraResult) -> IntCounter {
        self.files.with_label_values(&[kind.as_str(), result.label()])
    }
}
