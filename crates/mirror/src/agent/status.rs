//! What the mirror knows about itself, for the report.

use std::sync::{Mutex, MutexGuard, PoisonError};

use granary_placement::MirrorName;
use granary_placement::report::{CertificateReport, PolicyReport, Report, Upkeep, UpstreamReport};
use jiff::Timestamp;

use super::activity::{Activity, LastPass};
use crate::sync::{Job, PassOutcome};
use crate::tree::Totals;

/// The state that the report is made from. Updated by the loop and by the pass, read by the server.
#[derive(Debug)]
pub(super) struct Status {
    mirror: MirrorName,
    inner: Mutex<Inner>,
    activity: Mutex<Activity>,
}

#[derive(Debug, Default)]
struct Inner {
    epoch: u64,
    policies: Vec<PolicyReport>,
    upstreams: Vec<UpstreamReport>,
    front_trouble: Option<String>,
    certificate: Option<CertificateReport>,
    upkeep: Upkeep,
}

impl Status {
    pub(super) fn new(mirror: MirrorName) -> Self {
        let inner =
            Inner { front_trouble: Some("nginx's files are not rendered yet".into()), ..Inner::default() };
        Self { mirror, inner: Mutex::new(inner), activity: Mutex::default() }
    }

    /// A pass over `job` begins. `changed`: its policies are not those of the last pass, so what was said about them
    /// holds no longer; the numbers stay until the pass has better ones.
    pub(super) fn begin(&self, epoch: u64, job: &Job, changed: bool) {
        let mut inner = self.inner();
        inner.epoch = epoch;
        if !changed {
            return;
        }
        let mut before = std::mem::take(&mut inner.policies);
        inner.policies = job
            .policies
            .iter()
            .map(|policy| match before.iter().position(|report| report.name == policy.name) {
                Some(index) => PolicyReport { synced: false, ..before.swap_remove(index) },
                None => unresolved(&policy.name),
            })
            .collect();
    }

    /// How far the running pass is.
    pub(super) fn progress(&self, policies: &[PolicyReport]) {
        self.inner().policies = policies.to_vec();
    }

    /// A pass has ended.
    pub(super) fn end(&self, outcome: &PassOutcome) {
        let mut inner = self.inner();
        inner.policies.clone_from(&outcome.policies);
        inner.upstreams.clone_from(&outcome.upstreams);
    }

    /// What the passes did.
    pub(super) fn activity(&self) -> Activity {
        self.passes().clone()
    }

    /// A pass began, after [`Self::begin`].
    pub(super) fn pass_began(&self, now: Timestamp) {
        let policies = self.inner().policies.clone();
        self.passes().begin(&policies, now);
    }

    /// The pass has so much left to get.
    pub(super) fn queued(&self, artifacts: u64) {
        self.passes().queue = artifacts;
    }

    /// The pass ended, after [`Self::end`]; `None`: it was given up.
    pub(super) fn pass_ended(&self, last: Option<LastPass>) {
        let policies = self.inner().policies.clone();
        match last {
            Some(last) => self.passes().end(&policies, last),
            None => self.passes().given_up(),
        }
    }

    fn passes(&self) -> MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something of how the mirror keeps what it has is new.
    pub(super) fn upkeep(&self, change: impl FnOnce(&mut Upkeep)) {
        change(&mut self.inner().upkeep);
    }

    pub(super) fn front(&self, trouble: Option<String>) {
        self.inner().front_trouble = trouble;
    }

    pub(super) fn certificate(&self, report: Option<CertificateReport>) {
        self.inner().certificate = report;
    }

    /// Why the mirror should not get requests.
    pub(super) fn not_ready(&self) -> Option<String> {
        self.inner().front_trouble.clone()
    }

    /// `disk` and `totals` are the tree's word about itself; what is refused is not told here.
    pub(super) fn report(&self, disk: &str, totals: Totals) -> Report {
        let Totals { artifacts, bytes, newest } = totals;
        let inner = self.inner();
        Report {
            mirror: self.mirror.clone(),
            disk: disk.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            epoch: inner.epoch,
            artifacts,
            bytes,
            verified_at: newest.map(|time| time.to_string()),
            policies: inner.policies.clone(),
            refused: Vec::new(),
            refused_total: 0,
            front_ready: inner.front_trouble.is_none(),
            upstreams: inner.upstreams.clone(),
            certificate: inner.certificate.clone(),
            upkeep: inner.upkeep.clone(),
            channels: Vec::new(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A policy that no pass has looked at.
pub(super) fn unresolved(name: &str) -> PolicyReport {
    PolicyReport {
        name: name.into(),
        catalog: None,
        catalog_error: None,
        assigned: 0,
        verified: 0,
        verified_bytes: 0,
        refused: 0,
        refusal: None,
        last_pass: None,
        synced: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::{Assigned, PolicyJob, Roots};

    fn job(names: &[&str]) -> Job {
        let policy = |name: &&str| PolicyJob {
            name: (*name).into(),
            roots: Roots::default(),
            assigned: Assigned::All,
        };
        Job { policies: names.iter().map(policy).collect(), ..Job::default() }
    }

    fn synced(name: &str) -> PolicyReport {
        PolicyReport { synced: true, verified: 7, ..unresolved(name) }
    }

    fn status() -> Status {
        Status::new("north-0".parse().unwrap())
    }

    #[test]
    fn a_changed_job_is_not_synced_before_its_pass() {
        let status = status();
        status.end(&PassOutcome { policies: vec![synced("a"), synced("b")], ..PassOutcome::default() });
        status.begin(1, &job(&["a", "b"]), false);
        assert!(
            status.report("", Totals::default()).policies.iter().all(|policy| policy.synced),
            "the same again"
        );
        status.begin(2, &job(&["b", "c"]), true);
        let report = status.report("", Totals::default());
        assert_eq!(report.epoch, 2);
        let seen: Vec<_> = report.policies.iter().map(|p| (p.name.as_str(), p.verified, p.synced)).collect();
        assert_eq!(seen, [("b", 7, false), ("c", 0, false)]);
    }

    #[test]
    fn ready_means_that_nginx_can_serve() {
        let status = status();
        assert!(status.not_ready().is_some());
        status.front(None);
        assert_eq!(status.not_ready(), None);
        assert!(status.report("", Totals::default()).front_ready);
    }
}
