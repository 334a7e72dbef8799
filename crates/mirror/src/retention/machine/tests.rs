use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const DAY: Duration = Duration::from_hours(24);
const RULES: Rules = Rules { grace: Duration::from_hours(14 * 24), trash: Duration::from_hours(7 * 24) };

fn hash(name: char) -> HashPart {
    name.to_string().repeat(32).parse().unwrap()
}

fn set(names: &str) -> HashParts {
    names.chars().map(hash).collect()
}

/// A mirror whose disk does what the machine says.
struct Mirror {
    machine: Machine,
    now: Duration,
    published: Vec<HashPart>,
    trashed: Vec<(HashPart, bool)>,
}

impl Mirror {
    fn new(published: &str) -> Self {
        let published = published.chars().map(hash).collect();
        Self { machine: Machine::new(Seen::default()), now: Duration::ZERO, published, trashed: vec![] }
    }

    fn step(&mut self, later: Duration, wanted: Option<&str>) -> Steps {
        self.now += later;
        let wanted = wanted.map(set);
        let here = Here { published: &self.published, trashed: &self.trashed, wanted: wanted.as_ref() };
        let steps = self.machine.step(RULES, here, self.now);
        self.published.retain(|hash| !steps.take_out.contains(hash));
        self.trashed.iter_mut().for_each(|(hash, nar)| *nar &= !steps.empty.contains(hash));
        self.trashed.retain(|(hash, _)| !steps.forget.contains(hash));
        self.trashed.extend(steps.take_out.iter().map(|hash| (*hash, true)));
        steps
    }

    fn days(&mut self, days: u32, wanted: Option<&str>) -> Vec<HashPart> {
        (0..days).flat_map(|_| self.step(DAY, wanted).take_out).collect()
    }

    fn restart(&mut self) {
        let kept = serde_json::to_string(self.machine.seen()).unwrap();
        self.machine = Machine::new(serde_json::from_str(&kept).unwrap());
        self.now = Duration::ZERO;
    }
}

#[test]
fn what_nobody_wants_goes_after_the_grace_and_then_after_the_trash() {
    let mut mirror = Mirror::new("ab");
    assert!(mirror.step(DAY, Some("a")).changed);
    assert_eq!(mirror.days(13, Some("a")), []);
    let steps = mirror.step(DAY, Some("a"));
    assert_eq!(steps.take_out, [hash('b')]);
    assert_eq!(mirror.published, [hash('a')]);
    mirror.step(DAY, Some("a"));
    for _ in 0..6 {
        assert_eq!(mirror.step(DAY, Some("a")), Steps::default());
    }
    assert_eq!(mirror.step(DAY, Some("a")).empty, [hash('b')]);
    for _ in 0..22 {
        assert_eq!(mirror.step(DAY, Some("a")), Steps::default(), "its NAR is known by name");
    }
    assert_eq!(mirror.step(DAY, Some("a")).forget, [hash('b')]);
    assert_eq!(mirror.machine.seen().trashed.len(), 1, "until the trash is seen without it");
    mirror.step(DAY, Some("a"));
    assert_eq!(mirror.machine.seen().trashed.len(), 0);
}

#[test]
fn what_is_wanted_again_begins_anew() {
    let mut mirror = Mirror::new("a");
    assert_eq!(mirror.days(14, Some("")), []);
    assert!(mirror.step(DAY, Some("a")).changed);
    assert_eq!(mirror.days(14, Some("")), []);
    assert_eq!(mirror.days(1, Some("")), [hash('a')]);
    // In the trash it is kept as long as it is wanted, even if it cannot be taken back.
    assert_eq!(mirror.days(100, Some("a")), []);
    assert_eq!(mirror.trashed, [(hash('a'), true)]);
    mirror.days(7, Some(""));
    assert_eq!(mirror.trashed, [(hash('a'), true)], "the day on which it was wanted does not count");
    mirror.days(1, Some(""));
    assert_eq!(mirror.trashed, [(hash('a'), false)]);
}

#[test]
fn without_a_complete_instruction_no_period_begins_or_goes_on() {
    let mut mirror = Mirror::new("a");
    assert_eq!(mirror.days(1000, None), []);
    assert_eq!(mirror.machine.unwanted(), 0);
    // The time up to an instruction, and the time after the last one, are not known to be free of a wish for it.
    for _ in 0..14 {
        assert_eq!(mirror.days(1, Some("")), []);
        assert_eq!(mirror.days(30, None), []);
    }
    assert_eq!(mirror.days(14, Some("")), [], "nothing has been counted so far");
    assert_eq!(mirror.days(1, Some("")), [hash('a')]);
    mirror.step(DAY, Some(""));
    assert_eq!(mirror.days(1000, None), []);
    assert_eq!(mirror.trashed, [(hash('a'), true)], "nor is the trash emptied");
}

#[test]
fn a_clock_that_jumps_a_year_forward_or_backward_counts_for_a_day_at_most() {
    let mut mirror = Mirror::new("a");
    mirror.step(DAY, Some(""));
    assert_eq!(mirror.step(365 * DAY, Some("")).take_out, []);
    mirror.now = Duration::ZERO;
    assert_eq!(mirror.step(DAY, Some("")).take_out, []);
    assert_eq!(mirror.days(12, Some("")), []);
    assert_eq!(mirror.days(1, Some("")), [hash('a')], "a day, nothing, and thirteen days");
}

#[test]
fn a_restart_keeps_what_was_counted_and_counts_nothing_itself() {
    let mut mirror = Mirror::new("a");
    mirror.days(8, Some(""));
    for _ in 0..100 {
        mirror.restart();
        assert_eq!(mirror.days(1, Some("")), [], "the time before the first pass is not known");
    }
    assert_eq!(mirror.days(6, Some("")), []);
    assert_eq!(mirror.days(1, Some("")), [hash('a')]);
    let lost: Seen = serde_json::from_str(r#"{"clock":5,"unwanted":{"x":1}}"#).unwrap();
    assert_eq!((lost.clock, lost.unwanted.len()), (5, 0));
}

#[test]
fn a_count_that_lies_in_the_future_is_not_over() {
    let seen = Seen { clock: 0, unwanted: [(hash('a'), u64::MAX)].into(), trashed: BTreeMap::new() };
    let mut mirror = Mirror::new("a");
    mirror.machine = Machine::new(seen);
    assert_eq!(mirror.days(60, Some("")), []);
}

#[derive(Clone, Debug)]
enum Move {
    /// A pass that knew everything: which of four artifacts were wanted, after so many hours.
    Pass(u8, u32),
    /// One that did not.
    Blind(u32),
    Restart,
    /// The machine slept, or its clock is wrong.
    Jump(i64),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        // Often nothing is wanted, so that periods end.
        12 => (prop_oneof![3 => Just(0_u8), 1 => 0..16_u8], 0..30_u32).prop_map(|(wanted, hours)| Move::Pass(wanted, hours)),
        1 => (0..1000_u32).prop_map(Move::Blind),
        1 => Just(Move::Restart),
        1 => (-9000..9000_i64).prop_map(Move::Jump),
    ];
    prop::collection::vec(one, 0..300)
}

proptest! {
    #[test]
    fn nothing_goes_before_it_was_seen_unwanted_for_its_whole_period(moves in moves()) {
        const HOUR: Duration = Duration::from_hours(1);
        let mut mirror = Mirror::new("abcd");
        // Kept apart from the machine: how long each was unwanted, as two passes in a row saw it.
        let mut free: HashMap<HashPart, Option<Duration>> = HashMap::new();
        let mut last: Option<Duration> = None;
        for step in moves {
            match step {
                Move::Restart => {
                    mirror.restart();
                    last = None;
                }
                Move::Jump(hours) => {
                    let by = HOUR * u32::try_from(hours.unsigned_abs()).unwrap();
                    mirror.now = if hours < 0 { mirror.now.saturating_sub(by) } else { mirror.now + by };
                }
                Move::Blind(hours) => {
                    prop_assert_eq!(mirror.step(HOUR * hours, None), Steps::default());
                    last = None;
                }
                Move::Pass(wanted, hours) => {
                    let names: String =
                        "abcd".chars().enumerate().filter(|(bit, _)| wanted >> bit & 1 == 1).map(|(_, name)| name).collect();
                    let known: Vec<HashPart> = mirror.published.iter().chain(mirror.trashed.iter().map(|(hash, _)| hash)).copied().collect();
                    let steps = mirror.step(HOUR * hours, Some(&names));
                    let passed = last.map_or(Duration::ZERO, |last| mirror.now.saturating_sub(last).min(DAY));
                    last = Some(mirror.now);
                    for hash in known {
                        let period = free.entry(hash).or_default();
                        // The step at which it is first seen unwanted counts nothing yet.
                        let longer = period.map_or(Duration::ZERO, |period| period + passed);
                        *period = (!set(&names).contains(&hash)).then_some(longer);
                    }
                    for hash in &steps.take_out {
                        prop_assert!(free[hash] >= Some(RULES.grace) && !set(&names).contains(hash));
                        free.insert(*hash, None);
                    }
                    for hash in &steps.empty {
                        prop_assert!(free[hash] >= Some(RULES.trash) && !set(&names).contains(hash));
                    }
                    for hash in &steps.forget {
                        prop_assert!(free[hash] >= Some(ANSWERED) && !set(&names).contains(hash));
                    }
                }
            }
        }
        // And it does go.
        mirror.days(15, Some(""));
        prop_assert!(mirror.published.is_empty());
        mirror.days(31, Some(""));
        prop_assert!(mirror.trashed.is_empty());
    }
}
