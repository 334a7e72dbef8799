//! When clients last asked for what is here: by the hour, in memory, and on disk from time to time. What was noted after that
//! and is lost with the process counts as asked for when the next one began.
//!
//! Hours are counted, never read from a clock on the wall ([`crate::counted`]): [`Accesses::count`] is called again and again. A mirror
//! that is switched off at night only remembers longer.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use granary_nix::HashPart;
use jiff::Timestamp;

use super::lock;
use crate::compact::HashParts;
use crate::counted::Counted;

/// Hours that have been counted.
pub(super) type Hour = u32;

/// The most that one step counts for. They are seconds apart.
const LONGEST_STEP: Duration = Duration::from_hours(1);
/// What the line with the count begins with.
const CLOCK: &str = "clock ";

/// The last accesses.
#[derive(Debug, Default)]
pub(super) struct Accesses(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    hours: HashMap<HashPart, Hour>,
    counted: Counted,
    changed: bool,
    /// The count that is on disk.
    kept: Duration,
    /// When accesses were noted that are lost: since they were written, until this process began.
    lost: Range<Timestamp>,
    /// When this process began.
    began: Hour,
}

impl Inner {
    fn now(&self) -> Hour {
        hours(self.counted.total())
    }
}

fn hours(clock: Duration) -> Hour {
    u32::try_from(clock.as_secs() / 3600).unwrap_or(u32::MAX)
}

impl Accesses {
    /// From the text that [`Self::to_keep`] gave, and when it was written. Without its count the hours say nothing. Lines that
    /// are none are skipped: a crash may have left a part of one.
    pub(super) fn read(text: &str, written: Option<Timestamp>, now: Timestamp) -> Self {
        let clock = text.lines().next().and_then(|line| line.strip_prefix(CLOCK)?.parse().ok());
        let Some(clock) = clock.map(Duration::from_secs) else {
            return Self(Mutex::new(Inner { lost: Timestamp::MIN..now, ..Inner::default() }));
        };
        let written = written.unwrap_or(Timestamp::MIN);
        // By a clock that is behind nobody knows when this process began: what is lost is somewhere after.
        let lost = written..if now < written { Timestamp::MAX } else { now };
        let line = |line: &str| {
            let (hash, hour) = line.split_once(' ')?;
            // None is later than now.
            Some((hash.parse().ok()?, hour.parse::<Hour>().ok()?.min(hours(clock))))
        };
        let hours = text.lines().skip(1).filter_map(line).collect();
        let (counted, began) = (Counted::from(clock), self::hours(clock));
        Self(Mutex::new(Inner { hours, counted, kept: clock, lost, began, changed: false }))
    }

    /// Time passes; `now` is time since the program started.
    pub(super) fn count(&self, now: Duration) {
        lock(&self.0).counted.step(now, LONGEST_STEP);
    }

    /// The hour now.
    pub(super) fn now(&self) -> Hour {
        lock(&self.0).now()
    }

    /// A client had it.
    pub(super) fn note(&self, hash: HashPart) {
        let mut inner = lock(&self.0);
        let now = inner.now();
        inner.changed |= inner.hours.insert(hash, now) != Some(now);
    }

    /// Guests, with when they were published. Those that came while accesses were lost count as accessed when this process
    /// began, and no later: they must not look new for ever.
    pub(super) fn make_up(&self, guests: impl IntoIterator<Item = (HashPart, Option<Timestamp>)>) {
        let mut inner = lock(&self.0);
        let Inner { hours, lost, began, changed, .. } = &mut *inner;
        for (hash, published) in guests {
            if published.is_some_and(|at| lost.contains(&at)) {
                hours.entry(hash).or_insert_with(|| {
                    *changed = true;
                    *began
                });
            }
        }
    }

    /// The last access to a guest. Without any, a policy wanted it until now and no client has asked for it: it leaves before
    /// what clients use.
    pub(super) fn of_guest(&self, hash: &HashPart) -> Hour {
        lock(&self.0).hours.get(hash).copied().unwrap_or(0)
    }

    /// The last access; one that is not known counts as now, and from now on.
    pub(super) fn last(&self, hash: &HashPart) -> Hour {
        let mut inner = lock(&self.0);
        if let Some(hour) = inner.hours.get(hash) {
            return *hour;
        }
        let now = inner.now();
        inner.hours.insert(*hash, now);
        inner.changed = true;
        now
    }

    /// Forgets everything that is not there.
    pub(super) fn keep_only(&self, there: &HashParts) {
        let mut inner = lock(&self.0);
        let before = inner.hours.len();
        inner.hours.retain(|hash, _| there.contains(hash));
        inner.changed |= before != inner.hours.len();
    }

    /// What to keep on disk, if that has changed since the last call, or an hour has passed; at the end of a run, whenever any
    /// time has. 44 bytes for each artifact.
    pub(super) fn to_keep(&self, ends: bool) -> Option<String> {
        use std::fmt::Write as _;

        let mut inner = lock(&self.0);
        let (clock, kept) = (inner.counted.total(), inner.kept);
        let passed = if ends { clock != kept } else { hours(clock) != hours(kept) };
        if !std::mem::take(&mut inner.changed) && !passed {
            return None;
        }
        inner.kept = clock;
        let mut text = String::with_capacity(inner.hours.len() * 44);
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{CLOCK}{}", clock.as_secs());
        for (hash, hour) in &inner.hours {
            let _ = writeln!(text, "{hash} {hour}");
        }
        Some(text)
    }
}

/// What a client had, by a line of nginx's record: a hash part, or the path of a NAR file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Had<'l> {
    NarInfo(HashPart),
    /// `<hash>.nar[.<compression>]`.
    Nar(&'l str),
}

/// The different lines of a record. Its first and last lines may have been cut.
pub(super) fn parse<'l>(record: &'l str) -> HashSet<Had<'l>> {
    let nar = |line: &'l str| line.strip_prefix("/.granary/trash").unwrap_or(line).strip_prefix("/nar/");
    let had = |line: &'l str| match nar(line) {
        Some(file) => Some(Had::Nar(file)),
        None => line.parse().ok().map(Had::NarInfo),
    };
    record.lines().filter_map(had).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(name: char) -> HashPart {
        name.to_string().repeat(32).parse().unwrap()
    }

    const HOUR: Duration = Duration::from_hours(1);
    const YEAR: Duration = Duration::from_hours(365 * 24);

    /// Counts so many hours on.
    fn pass(accesses: &Accesses, from: u32, to: u32) {
        for hour in from..=to {
            accesses.count(HOUR * hour);
        }
    }

    #[test]
    fn accesses_and_the_count_are_kept_over_a_restart() {
        let accesses = Accesses::default();
        assert_eq!(accesses.to_keep(false), None);
        pass(&accesses, 0, 5);
        accesses.note(hash('b'));
        pass(&accesses, 6, 100);
        accesses.note(hash('a'));
        let text = accesses.to_keep(false).unwrap();
        assert_eq!(accesses.to_keep(false), None, "nothing has changed");
        accesses.note(hash('a'));
        accesses.count(HOUR * 100 + HOUR / 2);
        assert_eq!(accesses.to_keep(false), None, "coarse on purpose");
        assert!(
            accesses.to_keep(true).unwrap().starts_with("clock 361800\n"),
            "at the end every minute counts"
        );
        assert_eq!(accesses.to_keep(true), None);
        accesses.count(HOUR * 101);
        assert!(accesses.to_keep(false).unwrap().starts_with("clock 363600\n"), "an hour has passed");

        let accesses = read(&format!("{text}{} 12x\n{}\ngarbage 7", hash('c'), hash('d')));
        assert_eq!((accesses.last(&hash('a')), accesses.last(&hash('b'))), (100, 5));
        pass(&accesses, 0, 100);
        assert_eq!(accesses.last(&hash('c')), 200, "what is not known was accessed now");
        pass(&accesses, 101, 200);
        assert_eq!((accesses.last(&hash('c')), accesses.now()), (200, 300));
        accesses.keep_only(&HashParts::from([hash('b')]));
        assert_eq!(accesses.to_keep(false).unwrap(), format!("clock 1080000\n{} 5\n", hash('b')));
    }

    fn read(text: &str) -> Accesses {
        Accesses::read(text, Some(Timestamp::UNIX_EPOCH), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_clock_that_jumps_a_year_forward_and_back_counts_for_an_hour() {
        let accesses = Accesses::default();
        accesses.count(Duration::ZERO);
        accesses.note(hash('a'));
        accesses.count(YEAR);
        accesses.note(hash('b'));
        assert_eq!((accesses.last(&hash('a')), accesses.last(&hash('b'))), (0, 1));
        accesses.count(HOUR);
        assert_eq!(accesses.now(), 1, "back again");
        accesses.count(2 * HOUR);
        accesses.note(hash('a'));
        assert_eq!((accesses.last(&hash('a')), accesses.last(&hash('b'))), (2, 1));
    }

    /// As a machine without a battery wrote them before it knew the time, and one whose clock was a year fast.
    #[test]
    fn hours_of_another_clock_make_nothing_old_and_nothing_young_for_ever() {
        for hour in [3, 490_000, 500_000] {
            let accesses = read(&format!("{} {hour}\n", hash('a')));
            assert_eq!((accesses.last(&hash('a')), accesses.now()), (0, 0), "{hour}: by no count at all");
            let accesses = read(&format!("clock 36000\n{} {hour}\n", hash('a')));
            assert!(accesses.last(&hash('a')) <= 10, "{hour}");
            pass(&accesses, 0, 1);
            accesses.note(hash('b'));
            assert!(accesses.last(&hash('a')) < accesses.last(&hash('b')), "{hour}");
        }
        assert_eq!(read("clock 18446744073709551615\n").now(), u32::MAX);
    }

    #[test]
    fn a_guest_whose_access_was_lost_with_the_process_counts_as_just_asked_for() {
        let [before, written, after, began] = [100, 200, 300, 400].map(|at| Timestamp::from_second(at).ok());
        let text = format!("clock 36000\n{} 7\n", hash('a'));
        let of = |accesses: &Accesses, name, published| {
            accesses.make_up([(hash(name), published)]);
            accesses.of_guest(&hash(name))
        };
        let restart = || Accesses::read(&text, written, began.unwrap());
        assert_eq!((of(&restart(), 'a', before), of(&restart(), 'a', after)), (7, 7), "that is known");
        assert_eq!((of(&restart(), 'b', before), of(&restart(), 'b', after)), (0, 10));
        assert_eq!(
            (of(&restart(), 'b', began), of(&restart(), 'b', None)),
            (0, 0),
            "every access is noted by then"
        );
        for (text, written) in [("", None), ("garbage", written), (&*text, None)] {
            let accesses = Accesses::read(text, written, began.unwrap());
            accesses.note(hash('c'));
            of(&accesses, 'b', before);
            assert_eq!(accesses.last(&hash('b')), accesses.last(&hash('c')), "all were lost");
            assert!(
                accesses.to_keep(false).unwrap().contains(hash('b').as_str()),
                "over the next restart too"
            );
        }
        // A clock that is behind what it was says nothing about when this process began.
        let behind = Accesses::read(&text, written, before.unwrap());
        assert_eq!((of(&behind, 'b', after), of(&behind, 'd', before)), (10, 0));
    }

    #[test]
    fn a_guest_whose_access_was_lost_is_older_than_what_is_asked_for_from_then_on() {
        let [written, after, began] = [200, 300, 400].map(|at| Timestamp::from_second(at).ok());
        let accesses = Accesses::read("clock 36000\n", written, began.unwrap());
        let guests = || accesses.make_up([(hash('a'), after), (hash('b'), after)]);
        pass(&accesses, 0, 1);
        accesses.note(hash('b'));
        guests();
        pass(&accesses, 2, 3);
        guests();
        assert_eq!((accesses.of_guest(&hash('a')), accesses.of_guest(&hash('b'))), (10, 11));
        let accesses = Accesses::read(&accesses.to_keep(true).unwrap(), began, began.unwrap());
        accesses.make_up([(hash('a'), after)]);
        assert_eq!(accesses.of_guest(&hash('a')), 10, "and so after a restart");
    }

    #[test]
    fn an_access_counts_once_however_often_it_is_told() {
        let accesses = Accesses::default();
        pass(&accesses, 0, 1);
        for _ in 0..1000 {
            accesses.note(hash('a'));
        }
        pass(&accesses, 2, 2);
        accesses.note(hash('b'));
        assert!(
            accesses.last(&hash('a')) < accesses.last(&hash('b')),
            "the last one decides, and not how many"
        );
        let once = Accesses::default();
        pass(&once, 0, 1);
        once.note(hash('a'));
        assert_eq!(once.last(&hash('a')), accesses.last(&hash('a')));
    }

    #[test]
    fn a_record_is_read_line_by_line() {
        let (a, nar) = (hash('a'), "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s.nar.xz");
        let record = format!("aaaa\n{a}\n/nar/{nar}\n{a}\n\n/nix-cache-info\n{}", &a.as_str()[..20]);
        assert_eq!(parse(&record), HashSet::from([Had::NarInfo(a), Had::Nar(nar)]));
    }
}
