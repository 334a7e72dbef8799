//! The scrub.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use super::clamp;
use crate::scrub::{FILES, Standing};

/// How far the scrub is, and what it found.
#[derive(Debug)]
pub struct Scrub {
    read_bytes: IntCounter,
    read: IntCounter,
    rotten: IntCounterVec,
    round_bytes: IntGauge,
    round_total: IntGauge,
    began: Gauge,
    ended: Gauge,
    late: IntGauge,
}

impl Scrub {
    /// Registers everything.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let time = |name: &str, help: &str| {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(name, help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let rotten = Opts::new("scrub_rotten_total", "Files that were found rotten, by what they were");
        let rotten = IntCounterVec::new(rotten, &["file"])?;
        registry.register(Box::new(rotten.clone()))?;
        for file in FILES {
            rotten.with_label_values(&[file]);
        }
        Ok(Self {
            read_bytes: counter("scrub_read_bytes_total", "Bytes of NAR files that were read again")?,
            read: counter("scrub_read_artifacts_total", "Artifacts that were read again")?,
            rotten,
            round_bytes: gauge("scrub_round_read_bytes", "Bytes that were read in the current round")?,
            round_total: gauge("scrub_round_bytes", "Bytes that are to be read in the current round")?,
            began: time("scrub_round_began_timestamp_seconds", "When the current round began, Unix time")?,
            ended: time(
                "scrub_last_round_timestamp_seconds",
                "When the last round ended, Unix time; 0 before",
            )?,
            late: gauge("scrub_late", "Whether the round cannot end within its period at the budget")?,
        })
    }

    /// How far it is.
    #[allow(clippy::cast_precision_loss, reason = "Unix time in seconds is far below 2^52")]
    pub fn standing(&self, standing: &Standing) {
        let Standing { round, artifacts: _, total, late, failing: _ } = standing;
        self.round_bytes.set(clamp(round.bytes));
        self.round_total.set(clamp(*total));
        self.began.set(round.began.as_second() as f64);
        self.ended.set(round.ended.map_or(0.0, |time| time.as_second() as f64));
        self.late.set(i64::from(late.is_some()));
    }

    /// An artifact was read.
    pub fn read(&self, bytes: u64) {
        self.read.inc();
        self.read_bytes.inc_by(bytes);
    }

    /// Something was rotten.
    pub fn rotten(&self, file: &str) {
        self.rotten.with_label_values(&[file]).inc();
    }
}
