//! What the holders last said about themselves. Filled by [`crate::poll`] while this replica leads, read by the controllers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use granary_placement::report::Report;
use tokio::sync::watch;

/// A holder that has not answered for this long counts as unreachable.
pub const SILENCE: Duration = Duration::from_secs(20);
/// The same for one that has not answered this replica at all, which has asked it three times by then. A leader that was lost
/// with a node is followed by another within 20 s, and what else was lost has to be told within a minute.
pub const FIRST_SILENCE: Duration = Duration::from_secs(10);

/// Why there is no report, in plain words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// There is nobody to ask.
    NotThere(&'static str),
    /// It was asked.
    Asked(String),
}

/// What is known about one holder.
#[derive(Clone, Debug)]
pub struct Observed {
    /// Its newest report. Kept while it is silent, so that status can still say what was there.
    pub report: Option<Arc<Report>>,
    /// When it last answered; `None` when it never did since this replica leads.
    pub last_success: Option<Instant>,
    /// Since when this replica wants to ask it.
    pub since: Instant,
    /// Since when there is an address to ask: a pod that only starts has none.
    pub asked: Option<Instant>,
    /// Why it could not be asked, in plain words; `None` when the newest attempt succeeded.
    pub error: Option<String>,
}

impl Observed {
    /// Whether it has answered within the last [`SILENCE`].
    #[must_use]
    pub fn reachable(&self, now: Instant) -> bool {
        self.last_success.is_some_and(|last| now.saturating_duration_since(last) < SILENCE)
    }

    /// Whether it has been silent for at least [`SILENCE`]; when it has never answered, for [`FIRST_SILENCE`] since this
    /// replica began to ask: a new leader knows nothing yet and must not call everybody unreachable.
    #[must_use]
    pub fn silent(&self, now: Instant) -> bool {
        let (since, limit) = match self.last_success {
            Some(last) => (last, SILENCE),
            None => (self.since, FIRST_SILENCE),
        };
        now.saturating_duration_since(since) >= limit
    }

    /// Whether its pod runs and has never answered, for at least [`FIRST_SILENCE`]. An agent answers as soon as it starts, so
    /// nothing has to be known of such a holder to say that it does not.
    #[must_use]
    pub fn never_answered(&self, now: Instant) -> bool {
        let asked = self.asked.filter(|_| self.last_success.is_none());
        asked.is_some_and(|asked| now.saturating_duration_since(asked) >= FIRST_SILENCE)
    }

    /// The report, if the holder is reachable.
    #[must_use]
    pub fn current(&self, now: Instant) -> Option<&Arc<Report>> {
        self.report.as_ref().filter(|_| self.reachable(now))
    }
}

type Holders = HashMap<String, Observed>;

/// The shared store of observations, by namespace and holder name.
#[derive(Debug)]
pub struct Reports {
    namespaces: Mutex<HashMap<String, Holders>>,
    changed: watch::Sender<()>,
}

impl Default for Reports {
    fn default() -> Self {
        Self { namespaces: Mutex::default(), changed: watch::channel(()).0 }
    }
}

impl Reports {
    /// What is known about a holder; `None` when it was never asked.
    #[must_use]
    pub fn get(&self, namespace: &str, holder: &str) -> Option<Observed> {
        self.lock().get(namespace)?.get(holder).cloned()
    }

    /// What is known about all holders of a namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> HashMap<String, Observed> {
        self.lock().get(namespace).cloned().unwrap_or_default()
    }

    /// Marks each change of a report and of whether a holder answers.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Notes the outcome of one attempt to ask a holder.
    pub fn note(&self, namespace: &str, holder: &str, outcome: Result<Report, NoAnswer>, now: Instant) {
        let mut namespaces = self.lock();
        let observed =
            namespaces.entry(namespace.to_owned()).or_default().entry(holder.to_owned()).or_insert_with(
                || Observed { report: None, last_success: None, since: now, asked: None, error: None },
            );
        if !matches!(outcome, Err(NoAnswer::NotThere(_))) {
            observed.asked.get_or_insert(now);
        }
        let changed = match outcome {
            Ok(report) => {
                let news = observed.report.as_deref() != Some(&report) || observed.error.is_some();
                if news {
                    observed.report = Some(Arc::new(report));
                }
                observed.last_success = Some(now);
                observed.error = None;
                news
            }
            Err(NoAnswer::Asked(error)) => {
                let news = observed.error.as_ref() != Some(&error);
                observed.error = Some(error);
                news
            }
            Err(NoAnswer::NotThere(why)) => {
                let news = observed.error.as_deref() != Some(why);
                observed.error = Some(why.to_owned());
                news
            }
        };
        drop(namespaces);
        if changed {
            self.changed.send_replace(());
        }
    }

    /// Forgets the holders that are not among `known` (namespace, holder).
    pub fn retain(&self, known: impl Fn(&str, &str) -> bool) {
        let mut namespaces = self.lock();
        for (namespace, holders) in namespaces.iter_mut() {
            holders.retain(|holder, _| known(namespace, holder));
        }
        namespaces.retain(|_, holders| !holders.is_empty());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Holders>> {
        // Every change above is complete before anything can panic, so a poisoned lock guards sound data.
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn report(holder: &str, epoch: u64) -> Report {
        Report {
            mirror: holder.parse().unwrap(),
            disk: format!("disk-of-{holder}"),
            version: "0".into(),
            epoch,
            artifacts: 0,
            bytes: 0,
            verified_at: None,
            policies: vec![],
            refused: vec![],
            refused_total: 0,
            front_ready: true,
            upstreams: vec![],
            certificate: None,
            upkeep: granary_placement::report::Upkeep::default(),
            channels: vec![],
        }
    }

    #[test]
    fn silence_is_counted_from_the_last_answer_or_from_the_first_question() {
        let reports = Reports::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        reports.note("ns", "a-0", Err(NoAnswer::Asked("refused".into())), at(0));
        let never = reports.get("ns", "a-0").unwrap();
        assert!(!never.reachable(at(1)) && !never.silent(at(9)) && never.silent(at(10)));

        reports.note("ns", "a-0", Ok(report("a-0", 1)), at(30));
        reports.note("ns", "a-0", Err(NoAnswer::Asked("gone".into())), at(33));
        let seen = reports.get("ns", "a-0").unwrap();
        assert!(seen.reachable(at(49)) && !seen.silent(at(49)));
        assert!(!seen.reachable(at(50)) && seen.silent(at(50)));
        assert!(seen.current(at(50)).is_none());
        assert_eq!((seen.report.map(|report| report.epoch), seen.error.as_deref()), (Some(1), Some("gone")));
    }

    #[test]
    fn a_pod_that_only_starts_has_time_to_answer() {
        let reports = Reports::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        reports.note("ns", "a-0", Err(NoAnswer::NotThere("its pod has no address yet")), at(0));
        assert!(!reports.get("ns", "a-0").unwrap().never_answered(at(500)));
        reports.note("ns", "a-0", Err(NoAnswer::Asked("gone".into())), at(60));
        reports.note("ns", "a-0", Err(NoAnswer::Asked("gone".into())), at(63));
        let seen = reports.get("ns", "a-0").unwrap();
        assert!(!seen.never_answered(at(69)) && seen.never_answered(at(70)));
        reports.note("ns", "a-0", Ok(report("a-0", 1)), at(71));
        assert!(!reports.get("ns", "a-0").unwrap().never_answered(at(500)));
    }

    #[test]
    fn only_news_wakes_the_controllers() {
        let reports = Reports::default();
        let mut changes = reports.changes();
        let now = Instant::now();
        for (outcome, wakes) in [
            (Ok(report("a-0", 1)), true),
            (Ok(report("a-0", 1)), false),
            (Ok(report("a-0", 2)), true),
            (Err(NoAnswer::Asked("gone".to_owned())), true),
            (Err(NoAnswer::Asked("gone".to_owned())), false),
            (Ok(report("a-0", 2)), true),
        ] {
            reports.note("ns", "a-0", outcome.clone(), now);
            assert_eq!(changes.has_changed().unwrap(), wakes, "{outcome:?}");
            changes.mark_unchanged();
        }
    }

    #[test]
    fn holders_that_are_gone_are_forgotten() {
        let reports = Reports::default();
        for holder in ["a-0", "a-1"] {
            reports.note("ns", holder, Err(NoAnswer::NotThere("x")), Instant::now());
        }
        reports.retain(|namespace, holder| (namespace, holder) == ("ns", "a-1"));
        assert_eq!(reports.of("ns").into_keys().collect::<Vec<_>>(), ["a-1"]);
        reports.retain(|_, _| false);
        assert!(reports.of("ns").is_empty());
    }
}
