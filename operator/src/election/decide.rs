//! The decisions of a candidate and of a leader. Pure.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime};

/// The three times of an election. Always duration > deadline > retry > 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// A lease that was seen unchanged for this long may be taken.
    pub duration: Duration,
    /// A leader that has not renewed for this long stops.
    pub deadline: Duration,
    /// Between two attempts, to take or to renew.
    pub retry: Duration,
}

/// The times are not in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lease needs duration > deadline > retry > 0")]
pub struct TimingsError;

impl Timings {
    /// The usual ones: 15, 10 and 2 seconds.
    pub const STANDARD: Self = Self {
        duration: Duration::from_secs(15),
        deadline: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    /// Checks the order, without which two could lead at once.
    pub fn new(duration: Duration, deadline: Duration, retry: Duration) -> Result<Self, TimingsError> {
        if duration > deadline && deadline > retry && retry > Duration::ZERO {
            Ok(Self { duration, deadline, retry })
        } else {
            Err(TimingsError)
        }
    }
}

/// A lease as it was read.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The resource version: another one after each write.
    pub version: &'a str,
    /// What it says.
    pub spec: &'a LeaseSpec,
}

/// A version of another's lease, and since when it has been seen. Versions are compared, not fields: a leader whose clock
/// stands still, or repeats a time, writes the same fields again, and is alive all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The resource version.
    pub version: String,
    /// The local instant at which it was first seen.
    pub since: Instant,
}

/// What a candidate does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no lease: create it.
    Create,
    /// Replace the lease that was read, under its resource version.
    Take,
    /// Somebody else has it. Remember this and look again.
    Wait(Remembered),
}

/// What a candidate does about the lease that it read at `now`.
pub fn acquire(
    identity: &str,
    duration: Duration,
    remembered: Option<Remembered>,
    observed: Option<Seen>,
    now: Instant,
) -> Step {
    let Some(Seen { version, spec }) = observed else { return Step::Create };
    match spec.holder_identity.as_deref() {
        // Released, or ours from before a restart.
        None | Some("") => Step::Take,
        Some(holder) if holder == identity => Step::Take,
        Some(_) => match remembered.filter(|remembered| remembered.version == version) {
            Some(remembered) if now.saturating_duration_since(remembered.since) >= duration => Step::Take,
            Some(remembered) => Step::Wait(remembered),
            None => Step::Wait(Remembered { version: version.to_owned(), since: now }),
        },
    }
}

/// Whether the lease that a leader read is still its own.
pub fn is_ours(identity: &str, observed: Option<&LeaseSpec>) -> bool {
    observed.and_then(|spec| spec.holder_identity.as_deref()) == Some(identity)
}

/// The lease to write: taken or renewed by `identity`. `wall` is for people who read it; nothing compares it.
pub fn held(identity: &str, duration: Duration, observed: Option<&LeaseSpec>, wall: Timestamp) -> LeaseSpec {
    let before = observed.cloned().unwrap_or_default();
    let changes = !is_ours(identity, observed);
    let transitions = before.lease_transitions.unwrap_or(0);
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        acquire_time: if changes { Some(MicroTime(wall)) } else { before.acquire_time.clone() },
        renew_time: Some(MicroTime(wall)),
        lease_transitions: Some(if changes && observed.is_some() {
            transitions.saturating_add(1)
        } else {
            transitions
        }),
        lease_duration_seconds: Some(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX)),
        ..before
    }
}

/// The lease to write when a leader steps down: without a holder, so that the next need not wait.
pub fn released(observed: &LeaseSpec, wall: Timestamp) -> LeaseSpec {
    LeaseSpec {
        holder_identity: Some(String::new()),
        renew_time: Some(MicroTime(wall)),
        lease_duration_seconds: Some(1),
        ..observed.clone()
    }
}

/// How long a leader may still act. Renewals count from the instant *before* their request, because rivals begin to wait
/// when the write lands, not when its answer arrives.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    last_renewal: Instant,
    deadline: Duration,
}

impl Hold {
    /// Leading since a request that was begun at `begun`.
    pub fn new(begun: Instant, deadline: Duration) -> Self {
        Self { last_renewal: begun, deadline }
    }

    /// Notes a renewal whose request was begun at `begun`.
    pub fn renewed(&mut self, begun: Instant) {
        self.last_renewal = begun;
    }

    /// When this leader stops if nothing succeeds before.
    pub fn ends(&self) -> Instant {
        self.last_renewal + self.deadline
    }

    /// What is left at `now`; `None` when it is over.
    pub fn left(&self, now: Instant) -> Option<Duration> {
        let left = self.ends().saturating_duration_since(now);
        (left > Duration::ZERO).then_some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn wall(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn theirs(renewed: i64) -> LeaseSpec {
        held("them", DURATION, None, wall(renewed))
    }

    #[test]
    fn an_absent_a_released_and_an_own_lease_are_taken_at_once() {
        let now = Instant::now();
        let step = |spec: Option<&LeaseSpec>| {
            acquire("us", DURATION, None, spec.map(|spec| Seen { version: "1", spec }), now)
        };
        assert_eq!(step(None), Step::Create);
        assert_eq!(step(Some(&LeaseSpec::default())), Step::Take);
        assert_eq!(step(Some(&released(&theirs(1), wall(2)))), Step::Take);
        assert_eq!(step(Some(&held("us", DURATION, None, wall(1)))), Step::Take);
    }

    #[test]
    fn anothers_lease_is_taken_only_after_a_whole_duration_without_any_change() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut remembered = None;
        // Written once more at 10, with the same fields. Its times are in the far past, which must not matter.
        for (second, version, taken) in
            [(0, "1", false), (9, "1", false), (10, "2", false), (24, "2", false), (25, "2", true)]
        {
            let seen = Seen { version, spec: &theirs(1) };
            match acquire("us", DURATION, remembered.take(), Some(seen), at(second)) {
                Step::Wait(wait) => {
                    assert!(!taken, "second {second}");
                    remembered = Some(wait);
                }
                step => assert!(taken && step == Step::Take, "second {second}: {step:?}"),
            }
        }
    }

    #[test]
    fn a_change_starts_the_wait_anew() {
        let start = Instant::now();
        let remembered = Remembered { version: "1".into(), since: start };
        let late = start + DURATION * 2;
        let step = |version| {
            acquire("us", DURATION, Some(remembered.clone()), Some(Seen { version, spec: &theirs(1) }), late)
        };
        assert_eq!(step("2"), Step::Wait(Remembered { version: "2".into(), since: late }));
        assert_eq!(step("1"), Step::Take);
    }

    #[test]
    fn only_a_change_of_holder_is_a_transition() {
        let first = held("us", DURATION, None, wall(1));
        assert_eq!(
            (first.lease_transitions, first.acquire_time.clone()),
            (Some(0), Some(MicroTime(wall(1))))
        );
        let renewed = held("us", DURATION, Some(&first), wall(2));
        assert_eq!((renewed.lease_transitions, renewed.acquire_time.clone()), (Some(0), first.acquire_time));
        assert_eq!(renewed.renew_time, Some(MicroTime(wall(2))));
        let given_up = released(&renewed, wall(3));
        assert_eq!((given_up.holder_identity.as_deref(), given_up.lease_transitions), (Some(""), Some(0)));
        let taken = held("them", DURATION, Some(&given_up), wall(4));
        assert_eq!((taken.lease_transitions, taken.acquire_time), (Some(1), Some(MicroTime(wall(4)))));
        assert_eq!(taken.lease_duration_seconds, Some(15));
    }

    #[test]
    fn a_leader_counts_from_the_beginning_of_its_last_renewal() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut hold = Hold::new(start, Duration::from_secs(10));
        assert_eq!(hold.left(at(4)), Some(Duration::from_secs(6)));
        hold.renewed(at(4));
        assert_eq!(hold.left(at(13)), Some(Duration::from_secs(1)));
        assert_eq!(hold.left(at(14)), None);
    }

    #[test]
    fn times_out_of_order_are_refused() {
        let seconds = Duration::from_secs;
        assert!(Timings::new(seconds(15), seconds(10), seconds(2)).is_ok());
        for (duration, deadline, retry) in [(10, 10, 2), (15, 2, 2), (15, 10, 0)] {
            assert_eq!(Timings::new(seconds(duration), seconds(deadline), seconds(retry)), Err(TimingsError));
        }
    }
}
