//! Makes metrics and registers them. A topic's metrics are made in its own file.

use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

type Made<T> = Result<T, prometheus::Error>;

/// A registry whose metrics begin with `granary_mirror_`.
#[derive(Clone, Debug)]
pub struct Maker(Registry);

impl Maker {
    /// With nothing registered.
    pub fn new() -> Made<Self> {
        Ok(Self(Registry::new_custom(Some("granary_mirror".into()), None)?))
    }

    /// What is registered.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0
    }

    /// A number that goes up and down.
    pub fn gauge(&self, name: &str, help: &str) -> Made<IntGauge> {
        let gauge = IntGauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    /// The same with labels.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntGaugeVec> {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }

    /// The same with a fraction.
    pub fn float(&self, name: &str, help: &str) -> Made<Gauge> {
        let gauge = Gauge::new(name, help)?;
        self.0.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    /// A number that only grows; its name ends in `_total`.
    pub fn counter(&self, name: &str, help: &str) -> Made<IntCounter> {
        let counter = IntCounter::new(name, help)?;
        self.0.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    /// The same with labels.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Made<IntCounterVec> {
        let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
        self.0.register(Box::new(counters.clone()))?;
        Ok(counters)
    }

    /// A distribution of seconds: `count` buckets, the first up to `start`, each `factor` times the one before.
    pub fn seconds(&self, name: &str, help: &str, start: f64, factor: f64, count: usize) -> Made<Histogram> {
        let buckets = prometheus::exponential_buckets(start, factor, count)?;
        let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets))?;
        self.0.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }
}
