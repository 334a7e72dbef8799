//! A model of candidates that share one lease: requests and answers take any time, answers get lost, processes pause, clocks
//! run at different speeds. It drives the very functions of [`super::decide`] and asserts that no two ever lead at once.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::LeaseSpec;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::decide::{Hold, Remembered, Seen, Step, Timings, acquire, held, is_ours, released};

const CANDIDATES: usize = 3;
const NAMES: [&str; CANDIDATES] = ["a", "b", "c"];
/// Milliseconds of true time that one run covers.
const RUN: u64 = 200_000;

/// What happens next to a candidate. Times in it are true milliseconds.
enum Phase {
    /// It sends a GET.
    Ask,
    /// The GET reaches the server.
    Read { begun: u64 },
    /// The GET's answer reaches the candidate.
    Answer { begun: u64, seen: Option<(u64, LeaseSpec)> },
    /// Its write reaches the server. `version` is the one that it read; `None` creates.
    Write { begun: u64, version: Option<u64>, spec: LeaseSpec, releases: bool },
    /// The write's answer reaches the candidate.
    Written { begun: u64, landed: bool },
}

struct Candidate {
    /// Speed of its clock, per mille.
    rate: u64,
    remembered: Option<Remembered>,
    hold: Option<Hold>,
    /// Since when it leads, in true time.
    leads_since: Option<u64>,
}

struct World {
    timings: Timings,
    base: Instant,
    random: StdRng,
    lease: Option<(u64, LeaseSpec)>,
    candidates: Vec<Candidate>,
    /// Candidate, begin and end of each time somebody led.
    reigns: Vec<(usize, u64, u64)>,
}

impl World {
    fn new(seed: u64, timings: Timings) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let candidate = |rate| Candidate { rate, remembered: None, hold: None, leads_since: None };
        Self {
            timings,
            base: Instant::now(),
            candidates: (0..CANDIDATES).map(|_| candidate(random.random_range(850..1150))).collect(),
            random,
            lease: None,
            reigns: Vec::new(),
        }
    }

    /// A candidate's monotonic clock at a true time.
    fn clock(&self, who: usize, time: u64) -> Instant {
        self.base + Duration::from_micros(time * self.candidates[who].rate)
    }

    /// The true time at which a candidate's clock shows `instant`.
    fn true_time(&self, who: usize, instant: Instant) -> u64 {
        let micros = instant.saturating_duration_since(self.base).as_micros();
        u64::try_from(micros).unwrap() / self.candidates[who].rate
    }

    /// Mostly short, sometimes a long pause.
    fn delay(&mut self) -> u64 {
        if self.random.random_ratio(1, 12) {
            self.random.random_range(1_000..20_000)
        } else {
            self.random.random_range(1..400)
        }
    }

    /// Ends a reign at `time`, or at the deadline if that came first.
    fn stop(&mut self, who: usize, time: u64) {
        let hold = self.candidates[who].hold.take();
        let since = self.candidates[who].leads_since.take();
        if let (Some(hold), Some(since)) = (hold, since) {
            let end = time.min(self.true_time(who, hold.ends()));
            self.reigns.push((who, since, end));
        }
    }

    fn step(&mut self, who: usize, time: u64, phase: Phase) -> (u64, Phase) {
        let now = self.clock(who, time);
        if self.candidates[who].hold.is_some_and(|hold| hold.left(now).is_none()) {
            self.stop(who, time);
        }
        let retry = u64::try_from(self.timings.retry.as_millis()).unwrap();
        let delay = self.delay();
        match phase {
            Phase::Ask => (time + delay, Phase::Read { begun: time }),
            Phase::Read { begun } => (time + delay, Phase::Answer { begun, seen: self.lease.clone() }),
            Phase::Answer { begun, seen } => {
                let Some((version, spec, releases)) = self.answer(who, now, seen) else {
                    self.stop(who, time);
                    return (time + retry, Phase::Ask);
                };
                if releases {
                    // The work stops before the write is sent.
                    self.stop(who, time);
                }
                (time + delay, Phase::Write { begun, version, spec, releases })
            }
            Phase::Write { begun, version, spec, releases } => {
                let landed = version == self.lease.as_ref().map(|(version, _)| *version);
                if landed {
                    self.lease = Some((version.map_or(1, |version| version + 1), spec));
                }
                // An answer that is lost looks like a failure although the write landed.
                let heard = landed && !releases && !self.random.random_ratio(1, 10);
                (time + delay, Phase::Written { begun, landed: heard })
            }
            Phase::Written { begun, landed } => {
                if landed {
                    let begun = self.clock(who, begun);
                    let hold = Hold::new(begun, self.timings.deadline);
                    if hold.left(now).is_some() {
                        self.candidates[who].hold = Some(hold);
                        self.candidates[who].leads_since.get_or_insert(time);
                    }
                }
                (time + retry, Phase::Ask)
            }
        }
    }

    /// What to write: the version it goes by, the spec, and whether that steps down. `None`: nothing.
    fn answer(
        &mut self,
        who: usize,
        now: Instant,
        seen: Option<(u64, LeaseSpec)>,
    ) -> Option<(Option<u64>, LeaseSpec, bool)> {
        let (version, observed) = seen.unzip();
        // Clocks on the wall show anything at all, the same time twice too.
        let wall = Timestamp::from_second(self.random.random_range(0..3)).unwrap();
        let spec = held(NAMES[who], self.timings.duration, observed.as_ref(), wall);
        if self.candidates[who].hold.is_some() {
            let ours = observed.filter(|spec| is_ours(NAMES[who], Some(spec)))?;
            let steps_down = self.random.random_ratio(1, 20);
            return Some((version, if steps_down { released(&ours, wall) } else { spec }, steps_down));
        }
        let remembered = self.candidates[who].remembered.take();
        let text = version.unwrap_or_default().to_string();
        let seen = observed.as_ref().map(|spec| Seen { version: &text, spec });
        match acquire(NAMES[who], self.timings.duration, remembered, seen, now) {
            Step::Create | Step::Take => Some((version, spec, false)),
            Step::Wait(wait) => {
                self.candidates[who].remembered = Some(wait);
                None
            }
        }
    }

    fn run(mut self) -> Vec<(usize, u64, u64)> {
        let mut phases: Vec<Option<Phase>> = (0..CANDIDATES).map(|_| Some(Phase::Ask)).collect();
        let mut queue: BinaryHeap<Reverse<(u64, usize)>> =
            (0..CANDIDATES).map(|who| Reverse((self.random.random_range(0..500), who))).collect();
        while let Some(Reverse((time, who))) = queue.pop() {
            if time > RUN {
                break;
            }
            let phase = phases[who].take().unwrap();
            let (next, phase) = self.step(who, time, phase);
            phases[who] = Some(phase);
            queue.push(Reverse((next, who)));
        }
        for who in 0..CANDIDATES {
            self.stop(who, RUN);
        }
        self.reigns.sort_by_key(|(_, since, _)| *since);
        self.reigns
    }
}

/// The first two reigns of different candidates that overlap.
fn overlap(reigns: &[(usize, u64, u64)]) -> Option<String> {
    let pairs =
        reigns.iter().enumerate().flat_map(|(at, one)| reigns[at + 1..].iter().map(move |two| (one, two)));
    pairs
        .filter(|(one, two)| one.0 != two.0 && two.1 < one.2)
        .map(|(one, two)| format!("{one:?} and {two:?}"))
        .next()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_two_ever_lead_at_once(seed: u64) {
        let reigns = World::new(seed, Timings::STANDARD).run();
        prop_assert_eq!(overlap(&reigns), None);
    }
}

#[test]
fn the_lease_changes_hands_and_somebody_mostly_leads() {
    let mut leaders = [false; CANDIDATES];
    let mut led = 0;
    for seed in 0..50 {
        for (who, since, end) in World::new(seed, Timings::STANDARD).run() {
            leaders[who] = true;
            led += end - since;
        }
    }
    assert_eq!(leaders, [true; CANDIDATES]);
    assert!(led > 50 * RUN / 2, "somebody led for only {led} ms of {}", 50 * RUN);
}

#[test]
fn the_model_finds_a_deadline_that_is_longer_than_the_lease() {
    let wrong =
        Timings { duration: Duration::from_secs(10), deadline: Duration::from_secs(15), ..Timings::STANDARD };
    assert!((0..2_000).any(|seed| overlap(&World::new(seed, wrong).run()).is_some()));
}
