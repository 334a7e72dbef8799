//! What the passes did, as far as a report has no place for it: for the status page and the metrics.

use std::collections::BTreeMap;

use granary_placement::report::PolicyReport;
use jiff::Timestamp;

/// What the passes did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// Since when a pass runs; `None` between two.
    pub running: Option<Timestamp>,
    /// The last pass that came to its end.
    pub last: Option<LastPass>,
    /// Artifacts that the running pass has still to get.
    pub queue: u64,
    /// The policies of which something is missing here, and since when.
    pub behind: BTreeMap<String, Timestamp>,
}

/// A pass that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastPass {
    /// When it ended.
    pub ended: Timestamp,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Artifacts that it published.
    pub published: u64,
    /// Bytes of their NAR files.
    pub published_bytes: u64,
}

impl Activity {
    /// A pass begins. What is asked of a policy that is not complete any more is missing since now.
    pub(super) fn begin(&mut self, policies: &[PolicyReport], now: Timestamp) {
        self.running = Some(now);
        self.keep(policies, now);
    }

    /// A pass ended, and these are the policies now.
    pub(super) fn end(&mut self, policies: &[PolicyReport], last: LastPass) {
        self.running = None;
        self.queue = 0;
        self.last = Some(last);
        self.keep(policies, last.ended);
    }

    /// The pass was given up.
    pub(super) fn given_up(&mut self) {
        self.running = None;
        self.queue = 0;
    }

    /// How long something of the policy has been missing, in seconds; 0 when nothing is.
    #[must_use]
    pub fn lag(&self, policy: &str, now: Timestamp) -> u64 {
        let since = self.behind.get(policy);
        since.map_or(0, |since| u64::try_from(now.as_second() - since.as_second()).unwrap_or(0))
    }

    fn keep(&mut self, policies: &[PolicyReport], now: Timestamp) {
        let before = std::mem::take(&mut self.behind);
        for policy in policies.iter().filter(|policy| !policy.synced) {
            // A time that has not come yet is of a clock that was set back.
            let since = before.get(&policy.name).copied().map_or(now, |since| since.min(now));
            self.behind.insert(policy.name.clone(), since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(name: &str, synced: bool) -> PolicyReport {
        PolicyReport { synced, ..super::super::status::unresolved(name) }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn last(second: i64) -> LastPass {
        LastPass { ended: at(second), millis: 1, published: 0, published_bytes: 0 }
    }

    #[test]
    fn a_policy_is_behind_from_the_first_lack_until_nothing_lacks() {
        let mut activity = Activity::default();
        activity.begin(&[policy("a", false), policy("b", false)], at(10));
        activity.end(&[policy("a", true), policy("b", false)], last(20));
        assert_eq!((activity.lag("a", at(30)), activity.lag("b", at(30))), (0, 20));
        activity.begin(&[policy("a", true), policy("b", false)], at(40));
        activity.end(&[policy("a", false), policy("b", false)], last(50));
        assert_eq!((activity.lag("a", at(60)), activity.lag("b", at(60))), (10, 50));
        activity.end(&[policy("a", false)], last(70));
        assert_eq!(activity.lag("b", at(80)), 0, "nobody asks for it");
        assert_eq!(activity.lag("a", at(0)), 0, "the clock was set back");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_policy_well_for_ever() {
        let mut activity = Activity::default();
        activity.begin(&[policy("a", false)], at(1_000_000));
        activity.end(&[policy("a", false)], last(10));
        assert_eq!(activity.lag("a", at(30)), 20);
    }

    #[test]
    fn nothing_waits_after_a_pass() {
        let mut activity = Activity { queue: 3, ..Activity::default() };
        activity.begin(&[], at(1));
        assert_eq!(activity.running, Some(at(1)));
        activity.given_up();
        assert_eq!((activity.running, activity.queue, activity.last), (None, 0, None));
    }
}
