//! Push.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use crate::push::Reason;

/// What clients pushed.
#[derive(Debug)]
pub struct PushMetrics {
    pushed: IntCounter,
    bytes: IntCounter,
    refused: IntCounterVec,
}

impl PushMetrics {
    /// Registers everything, with every reason at 0.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            pushed: IntCounter::new("pushed_total", "Artifacts published because they were pushed")?,
            bytes: IntCounter::new("pushed_bytes_total", "Bytes of their NAR files")?,
            refused: IntCounterVec::new(Opts::new("push_refused_total", "Uploads refused"), &["reason"])?,
        };
        registry.register(Box::new(metrics.pushed.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        registry.register(Box::new(metrics.refused.clone()))?;
        for reason in Reason::ALL {
            metrics.refused.with_label_values(&[reason.label()]);
        }
        Ok(metrics)
    }

    /// An artifact was published.
    pub fn published(&self, bytes: u64) {
        self.pushed.inc();
        self.bytes.inc_by(bytes);
    }

    /// An upload was refused.
    pub fn refused(&self, reason: Reason) {
        self.refused.with_label_values(&[reason.label()]).inc();
    }
}
