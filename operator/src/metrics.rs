//! What `/metrics` tells. No label ever carries an error's text, a path or an artifact; namespace and policy names are
//! bounded by the objects there are, and their series go when the object goes.

use std::time::Duration;

use granary_placement::MirrorState;
use prometheus::{
    Encoder, Gauge, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Everything that is counted.
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    errors: IntCounterVec,
    leader: Gauge,
    crd_missing: IntGaugeVec,
    polls: IntCounterVec,
    map_epoch: IntGaugeVec,
    map_writes: IntCounterVec,
    mirrors: IntGaugeVec,
    policy_artifacts: IntGaugeVec,
    policy_copies_wanted: IntGaugeVec,
    policy_copies: IntGaugeVec,
    policy_below_target: IntGaugeVec,
    policy_refused: IntGaugeVec,
    policy_accepted: IntGaugeVec,
}

/// The numbers of one policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PolicyNumbers {
    /// Artifacts wanted.
    pub artifacts: u64,
    /// Copies wanted.
    pub wanted: u64,
    /// Copies there.
    pub total: u64,
    /// Artifacts with too few copies, at most.
    pub below_target: u64,
    /// Artifacts refused, summed over mirrors.
    pub refused: u64,
    /// 1 if it can be placed in full, else 0.
    pub accepted: u64,
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter = IntCounterVec::new(Opts::new(format!("granary_operator_{name}"), help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(format!("granary_operator_{name}"), help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            Ok::<_, prometheus::Error>(gauges)
        };
        let policy = ["namespace", "policy"];
        let reconcile_seconds = HistogramVec::new(
            HistogramOpts::new("granary_operator_reconcile_seconds", "How long one reconcile took.")
                .buckets(vec![0.005, 0.02, 0.1, 0.5, 2.0, 10.0]),
            &["controller"],
        )?;
        registry.register(Box::new(reconcile_seconds.clone()))?;
        let leader = Gauge::new("granary_operator_leader", "1 on the replica that leads, else 0.")?;
        registry.register(Box::new(leader.clone()))?;
        let metrics = Self {
            reconciles: counter("reconciles_total", "Reconciles, by result.", &["controller", "result"])?,
            reconcile_seconds,
            errors: counter("errors_total", "Errors, by controller and kind.", &["controller", "kind"])?,
            leader,
            crd_missing: gauges(
                "crd_missing",
                "1 while this definition is not installed, else 0.",
                &["crd"],
            )?,
            polls: counter("polls_total", "Requests for holders' reports, by result.", &["result"])?,
            map_epoch: gauges("map_epoch", "Epoch of the mirror map.", &["namespace"])?,
            map_writes: counter(
                "map_writes_total",
                "Attempts to write a mirror map, by result.",
                &["result"],
            )?,
            mirrors: gauges("mirrors", "Mirrors in the map, by state.", &["namespace", "state"])?,
            policy_artifacts: gauges("policy_artifacts", "Artifacts that a policy wants.", &policy)?,
            policy_copies_wanted: gauges("policy_copies_wanted", "Copies that a policy wants.", &policy)?,
            policy_copies: gauges("policy_copies", "Verified copies on mirrors that answer.", &policy)?,
            policy_below_target: gauges(
                "policy_below_target",
                "Artifacts with fewer copies than wanted, at most.",
                &policy,
            )?,
            policy_refused: gauges("policy_refused", "Artifacts refused, summed over mirrors.", &policy)?,
            policy_accepted: gauges(
                "policy_accepted",
                "1 while a policy can be placed in full, else 0.",
                &policy,
            )?,
            registry,
        };
        #[cfg(target_os = "linux")]
        metrics.registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// Counts one reconcile and, if it failed, the kind of its error.
    pub fn reconciled(&self, controller: &'static str, result: Result<(), &'static str>, took: Duration) {
        let outcome = if result.is_ok() { "ok" } else { "error" };
        self.reconciles.with_label_values(&[controller, outcome]).inc();
        self.reconcile_seconds.with_label_values(&[controller]).observe(took.as_secs_f64());
        if let Err(kind) = result {
            self.error(controller, kind);
        }
    }

    /// Counts an error outside a reconcile.
    pub fn error(&self, controller: &'static str, kind: &'static str) {
        self.errors.with_label_values(&[controller, kind]).inc();
    }

    /// Whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(f64::from(u8::from(leads)));
    }

    /// Whether a definition is missing.
    pub fn crd_missing(&self, crd: &str, missing: bool) {
        self.crd_missing.with_label_values(&[crd]).set(i64::from(missing));
    }

    /// Counts one request for a report.
    pub fn polled(&self, answered: bool) {
        self.polls.with_label_values(&[if answered { "ok" } else { "error" }]).inc();
    }

    /// Counts one attempt to write a map: `ok`, `conflict` or `error`.
    pub fn map_written(&self, result: &'static str) {
        self.map_writes.with_label_values(&[result]).inc();
    }

    /// The epoch of a namespace's map and its mirrors by state.
    pub fn map(&self, namespace: &str, epoch: u64, states: impl Iterator<Item = MirrorState>) {
        self.map_epoch.with_label_values(&[namespace]).set(gauge(epoch));
        let all = [MirrorState::Joining, MirrorState::Serving, MirrorState::Unreachable];
        let mut counts = all.map(|state| (state, 0_i64));
        for state in states {
            if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == state) {
                *count += 1;
            }
        }
        for (state, count) in counts {
            self.mirrors.with_label_values(&[namespace, state.as_str()]).set(count);
        }
    }

    /// The namespace has no map any more.
    pub fn map_gone(&self, namespace: &str) {
        // An error means that there was no such series.
        let _ = self.map_epoch.remove_label_values(&[namespace]);
        for state in [MirrorState::Joining, MirrorState::Serving, MirrorState::Unreachable] {
            let _ = self.mirrors.remove_label_values(&[namespace, state.as_str()]);
        }
    }

    /// The numbers of a policy; `None` when it is gone.
    pub fn policy(&self, namespace: &str, policy: &str, numbers: Option<PolicyNumbers>) {
        let labels = [namespace, policy];
        let families = [
            &self.policy_artifacts,
            &self.policy_copies_wanted,
            &self.policy_copies,
            &self.policy_below_target,
            &self.policy_refused,
            &self.policy_accepted,
        ];
        if let Some(PolicyNumbers { artifacts, wanted, total, below_target, refused, accepted }) = numbers {
            let values = [artifacts, wanted, total, below_target, refused, accepted];
            for (family, value) in families.into_iter().zip(values) {
                family.with_label_values(&labels).set(gauge(value));
            }
        } else {
            for family in families {
                // An error means that there was no such series.
                let _ = family.remove_label_values(&labels);
            }
        }
    }

    /// The text that Prometheus scrapes.
    pub fn text(&self) -> Result<String, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_of_a_policy_go_with_it() {
        let metrics = Metrics::new().unwrap();
        let numbers =
            PolicyNumbers { artifacts: 4, wanted: 8, total: 7, below_target: 1, refused: 2, accepted: 1 };
        metrics.policy("ns", "stable", Some(numbers));
        let series = "granary_operator_policy_copies_wanted{namespace=\"ns\",policy=\"stable\"} 8";
        let accepted = "granary_operator_policy_accepted{namespace=\"ns\",policy=\"stable\"} 1";
        let text = metrics.text().unwrap();
        assert!(text.contains(series) && text.contains(accepted), "{text}");
        metrics.policy("ns", "stable", None);
        assert!(!metrics.text().unwrap().contains("stable"));
    }

    #[test]
    fn a_state_that_no_mirror_is_in_any_more_goes_to_zero() {
        let metrics = Metrics::new().unwrap();
        metrics.map("ns", 3, [MirrorState::Joining, MirrorState::Serving].into_iter());
        metrics.map("ns", 4, [MirrorState::Serving, MirrorState::Serving].into_iter());
        let text = metrics.text().unwrap();
        assert!(text.contains("granary_operator_mirrors{namespace=\"ns\",state=\"joining\"} 0"));
        assert!(text.contains("granary_operator_mirrors{namespace=\"ns\",state=\"serving\"} 2"));
        assert!(text.contains("granary_operator_map_epoch{namespace=\"ns\"} 4"));
    }
}
