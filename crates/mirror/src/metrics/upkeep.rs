//! How the mirror keeps what it has.

use granary_placement::report::CapacityReport;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use super::clamp;
use crate::retention::Outcome;

/// Retention and room.
#[derive(Debug)]
pub struct Upkeep {
    unwanted: IntGauge,
    trash: IntGauge,
    trash_bytes: IntGauge,
    retired: IntCounterVec,
    full: IntGauge,
    read_only: IntGauge,
}

impl Upkeep {
    /// Registers everything.
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let help = "Artifacts that nobody wanted any more: taken out of the tree, removed from the trash";
        let retired = IntCounterVec::new(Opts::new("retired_total", help), &["step"])?;
        registry.register(Box::new(retired.clone()))?;
        for step in ["taken-out", "emptied"] {
            retired.with_label_values(&[step]);
        }
        Ok(Self {
            unwanted: gauge("unwanted", "Published artifacts that nobody wants, whose grace is running")?,
            trash: gauge("trash_artifacts", "Artifacts in the trash with their NAR files")?,
            trash_bytes: gauge("trash_bytes", "Bytes of the NAR files in the trash")?,
            retired,
            full: gauge("full", "Whether something is not taken in for lack of room")?,
            read_only: gauge("disk_read_only", "Whether nothing is taken in because the disk is read-only")?,
        })
    }

    /// What retention did after a pass.
    pub fn retention(&self, outcome: &Outcome) {
        let Outcome { unwanted, trashed, trashed_bytes, taken_out, emptied } = *outcome;
        self.unwanted.set(clamp(unwanted));
        self.trash.set(clamp(trashed));
        self.trash_bytes.set(clamp(trashed_bytes));
        self.retired.with_label_values(&["taken-out"]).inc_by(taken_out);
        self.retired.with_label_values(&["emptied"]).inc_by(emptied);
    }

    /// Whether there is room.
    pub fn capacity(&self, report: &CapacityReport) {
        let CapacityReport { free: _, full, read_only } = report;
        self.full.set(i64::from(full.is_some() && !read_only));
        self.read_only.set(i64::from(*read_only));
    }
}
