//! The machine around the agent: its disk, nginx, and how long the agent has been up.

use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use super::clamp;
use super::make::Maker;

/// What nginx says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Connections since nginx started.
    pub accepted: u64,
    /// Requests since nginx started.
    pub requests: u64,
    /// Connections whose request is being read.
    pub reading: u64,
    /// Connections that are being answered.
    pub writing: u64,
    /// Connections between two requests.
    pub waiting: u64,
}

/// Disk, nginx, uptime.
#[derive(Debug)]
pub struct MachineMetrics {
    disk_free: IntGauge,
    disk_size: IntGauge,
    uptime: IntGauge,
    front_up: IntGauge,
    connections: IntGaugeVec,
    accepted: IntCounter,
    requests: IntCounter,
}

impl MachineMetrics {
    pub(super) fn new(make: &Maker) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            disk_free: make.gauge("disk_free_bytes", "Bytes that can still be written where the tree is")?,
            disk_size: make.gauge("disk_size_bytes", "Size of the file system where the tree is")?,
            uptime: make.gauge("uptime_seconds", "How long the agent has been running")?,
            front_up: make.gauge("front_up", "Whether nginx answers")?,
            connections: make.gauges("front_connections", "nginx's connections now, by state", &["state"])?,
            accepted: make
                .counter("front_connections_total", "Connections that nginx took, since it started")?,
            requests: make
                .counter("front_requests_total", "Requests that nginx answered, since it started")?,
        };
        metrics.front(None);
        Ok(metrics)
    }

    /// Room where the tree is; nothing changes when it is not known.
    pub fn disk(&self, free: u64, size: u64) {
        self.disk_free.set(clamp(free));
        self.disk_size.set(clamp(size));
    }

    /// How long the agent has been running.
    pub fn uptime(&self, seconds: u64) {
        self.uptime.set(clamp(seconds));
    }

    /// What nginx says; `None`: nothing.
    pub fn front(&self, said: Option<Connections>) {
        self.front_up.set(i64::from(said.is_some()));
        let Connections { accepted, requests, reading, writing, waiting } = said.unwrap_or_default();
        for (state, count) in [("reading", reading), ("writing", writing), ("waiting", waiting)] {
            self.connections.with_label_values(&[state]).set(clamp(count));
        }
        // nginx counts from its own start; a reader of counters knows what a smaller number means. While it is down, what it
        // said last stands.
        if said.is_some() {
            for (counter, count) in [(&self.accepted, accepted), (&self.requests, requests)] {
                counter.reset();
                counter.inc_by(count);
            }
        }
    }
}
