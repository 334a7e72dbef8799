//! Whether the agent makes progress: what `/healthz` answers by.
//!
//! A restart mends a loop that hangs, and nothing else. So an agent is called stuck only when a pass runs, over the policies or
//! over the channels, in which for a long time nothing at all happened: no request ended, well or badly, no byte came, nothing was read or decompressed.
//! An upstream that is slow, silent or down makes its requests end by their limits, again and again, which is movement;
//! and while the disk works, or hangs, a restart would not help for a very long time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use granary_fetch::Limits;

/// The least patience with a pass in which nothing happens.
const PATIENCE: Duration = Duration::from_mins(15);
/// With one that waits for the disk: a cold directory of a million files takes a slow disk an hour.
const PATIENCE_WITH_DISKS: Duration = Duration::from_hours(6);
/// Single waits that may follow each other before anything is told: connection, answer, pause, slow body.
const WAITS: u32 = 8;

/// What has passes of its own, beside the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    /// The passes over the policies.
    Policies,
    /// The rounds over the mirror's own channels.
    Channels,
}

impl Loop {
    const ALL: [Self; 2] = [Self::Policies, Self::Channels];

    const fn words(self) -> &'static str {
        match self {
            Self::Policies => "pass",
            Self::Channels => "round over the channels",
        }
    }
}

/// What is known about the running work of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Work {
    of: Loop,
    /// Whether a pass runs.
    pass: bool,
    /// Whether that pass waits for the disk.
    disk: bool,
    /// How long nothing has happened.
    quiet: Duration,
}

/// How long nothing may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Patience {
    network: Duration,
    disk: Duration,
}

/// Beats when something happens.
#[derive(Debug)]
pub(super) struct Heart {
    start: Instant,
    /// Milliseconds from `start` to when last something happened at a source. Connections and decoders are the loops' together:
    /// one that waits for them is not stuck as long as they are in use.
    beat: AtomicU64,
    states: [Mutex<State>; 2],
    patience: Patience,
}

#[derive(Debug, Default)]
struct State {
    passes: u32,
    disks: u32,
    /// From the start to when last something happened in this loop.
    beat: Duration,
}

impl Heart {
    /// Of an agent that starts now and waits for sources at most as long as these limits say.
    pub(super) fn new(now: Instant, limits: &Limits) -> Self {
        let patience = patience(limits);
        Self { start: now, beat: AtomicU64::new(0), states: Default::default(), patience }
    }

    /// How long the agent has been running.
    pub(super) fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.start)
    }

    /// Something happened at a source.
    pub(super) fn beat(&self, now: Instant) {
        let millis = u64::try_from(self.uptime(now).as_millis()).unwrap_or(u64::MAX);
        // Whichever of two beats is kept, they are as good as simultaneous.
        self.beat.store(millis, Ordering::Relaxed);
    }

    /// Something happened in a loop.
    pub(super) fn moved(&self, of: Loop, now: Instant) {
        self.change(of, now, |_| {});
    }

    /// A pass begins, or ends.
    pub(super) fn pass(&self, of: Loop, begins: bool, now: Instant) {
        self.change(of, now, |state| {
            state.passes = if begins { state.passes + 1 } else { state.passes.saturating_sub(1) };
            // What a pass that was given up still does with the disk is nobody's any more.
            state.disks = 0;
        });
    }

    /// A pass begins to wait for the disk, or has waited.
    pub(super) fn disk(&self, of: Loop, begins: bool, now: Instant) {
        self.change(of, now, |state| {
            state.disks = if begins { state.disks + 1 } else { state.disks.saturating_sub(1) };
        });
    }

    /// Why a restart is due; `None` as long as it is not.
    pub(super) fn stuck(&self, now: Instant) -> Option<String> {
        let source = Duration::from_millis(self.beat.load(Ordering::Relaxed));
        Loop::ALL.into_iter().find_map(|of| {
            let state = self.state(of);
            let quiet = self.uptime(now).saturating_sub(source.max(state.beat));
            judge(Work { of, pass: state.passes > 0, disk: state.disks > 0, quiet }, self.patience)
        })
    }

    fn change(&self, of: Loop, now: Instant, change: impl FnOnce(&mut State)) {
        let beat = self.uptime(now);
        let mut state = self.state(of);
        change(&mut state);
        state.beat = beat;
    }

    fn state(&self, of: Loop) -> MutexGuard<'_, State> {
        self.states[of as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// No wait that the limits allow is taken for a hang.
fn patience(limits: &Limits) -> Patience {
    let longest = [limits.silence, limits.connect, limits.pace_window].into_iter().max().unwrap_or_default();
    let network = PATIENCE.max(longest.saturating_mul(WAITS));
    Patience { network, disk: PATIENCE_WITH_DISKS.max(network) }
}

fn judge(work: Work, patience: Patience) -> Option<String> {
    let Work { of, pass, disk, quiet } = work;
    let most = if disk { patience.disk } else { patience.network };
    let stuck = pass && quiet > most;
    stuck.then(|| format!("for {} s nothing has happened in the running {}", quiet.as_secs(), of.words()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn heart(start: Instant) -> Heart {
        Heart::new(start, &Limits::default())
    }

    #[test]
    fn an_agent_that_has_nothing_to_do_is_alive_for_ever() {
        let start = Instant::now();
        let heart = heart(start);
        assert_eq!(heart.stuck(start + 10_000 * MINUTE), None, "it waits for a map");
        heart.pass(Loop::Policies, true, start);
        heart.pass(Loop::Policies, false, start + MINUTE);
        assert_eq!(heart.stuck(start + 10_000 * MINUTE), None, "it waits for the next pass");
    }

    #[test]
    fn a_pass_in_which_nothing_happens_is_stuck_and_a_step_of_any_kind_is_not_nothing() {
        let start = Instant::now();
        let heart = heart(start);
        heart.pass(Loop::Policies, true, start);
        assert_eq!(heart.stuck(start + 15 * MINUTE), None);
        let words = heart.stuck(start + 16 * MINUTE).unwrap();
        assert!(words.contains("960 s"), "{words}");
        heart.beat(start + 16 * MINUTE);
        assert_eq!(heart.stuck(start + 31 * MINUTE), None);
        assert!(heart.stuck(start + 32 * MINUTE).is_some());
    }

    #[test]
    fn requests_that_end_by_their_limits_keep_it_alive_for_days() {
        let start = Instant::now();
        let limits = Limits { silence: Duration::from_hours(1), ..Limits::default() };
        let heart = Heart::new(start, &limits);
        heart.pass(Loop::Policies, true, start);
        let mut now = start;
        for _ in 0..100 {
            now += limits.silence + limits.connect;
            assert_eq!(heart.stuck(now), None);
            heart.beat(now);
        }
        assert!(heart.stuck(now + limits.silence * WAITS + MINUTE).is_some(), "even so there is an end");
    }

    #[test]
    fn a_slow_disk_is_given_hours() {
        let start = Instant::now();
        let heart = heart(start);
        heart.pass(Loop::Policies, true, start);
        heart.disk(Loop::Policies, true, start);
        heart.disk(Loop::Policies, true, start);
        heart.disk(Loop::Policies, false, start);
        assert_eq!(heart.stuck(start + 5 * 60 * MINUTE), None);
        assert!(heart.stuck(start + 7 * 60 * MINUTE).is_some());
        heart.disk(Loop::Policies, false, start + 5 * 60 * MINUTE);
        assert_eq!(heart.stuck(start + 5 * 60 * MINUTE + 14 * MINUTE), None);
        assert!(heart.stuck(start + 5 * 60 * MINUTE + 16 * MINUTE).is_some());
    }

    #[test]
    fn a_pass_that_is_given_up_leaves_no_debt() {
        let start = Instant::now();
        let heart = heart(start);
        heart.pass(Loop::Policies, true, start);
        heart.disk(Loop::Policies, true, start);
        heart.pass(Loop::Policies, false, start);
        heart.pass(Loop::Policies, true, start);
        assert!(heart.stuck(start + 16 * MINUTE).is_some(), "the old disk's patience is not the new pass's");
    }

    #[test]
    fn a_round_over_the_channels_that_hangs_is_seen_although_the_passes_go_on() {
        let start = Instant::now();
        let heart = heart(start);
        heart.pass(Loop::Channels, true, start);
        for minute in 0..16 {
            heart.pass(Loop::Policies, true, start + minute * MINUTE);
            heart.disk(Loop::Policies, true, start + minute * MINUTE);
            heart.disk(Loop::Policies, false, start + minute * MINUTE);
            heart.pass(Loop::Policies, false, start + minute * MINUTE);
            assert_eq!(heart.stuck(start + minute * MINUTE), None);
        }
        let words = heart.stuck(start + 16 * MINUTE).unwrap();
        assert!(words.contains("round over the channels"), "{words}");
        heart.beat(start + 16 * MINUTE);
        assert_eq!(heart.stuck(start + 17 * MINUTE), None, "it may be waiting for a connection");
        heart.moved(Loop::Channels, start + 20 * MINUTE);
        assert_eq!(heart.stuck(start + 35 * MINUTE), None);
        heart.pass(Loop::Channels, false, start + 35 * MINUTE);
        assert_eq!(heart.stuck(start + 1000 * MINUTE), None, "it waits for the next round");
    }

    #[test]
    fn a_clock_that_seems_to_run_backwards_is_no_reason() {
        let before = Instant::now();
        let start = before + 60 * MINUTE;
        let heart = heart(start);
        heart.pass(Loop::Policies, true, start);
        assert_eq!(heart.stuck(before), None);
    }
}
