//! When clients last asked for what is here: by the hour, in memory, and on disk from time to time. Losing it only makes
//! everything look as if it had been asked for just now.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use granary_nix::HashPart;

use super::lock;

/// Hours since 1970.
pub(super) type Hour = u32;

/// The hour of a time in seconds since 1970.
pub(super) fn hour_of(seconds: i64) -> Hour {
    u32::try_from(seconds / 3600).unwrap_or_default()
}

/// The last accesses.
#[derive(Debug, Default)]
pub(super) struct Accesses(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    hours: HashMap<HashPart, Hour>,
    changed: bool,
}

impl Accesses {
    /// From the text that [`Self::to_keep`] gave. Lines that are none are skipped: a crash may have left a part of one.
    pub(super) fn read(text: &str) -> Self {
        let line = |line: &str| {
            let (hash, hour) = line.split_once(' ')?;
            Some((hash.parse().ok()?, hour.parse().ok()?))
        };
        Self(Mutex::new(Inner { hours: text.lines().filter_map(line).collect(), changed: false }))
    }

    /// A client had it.
    pub(super) fn note(&self, hash: HashPart, now: Hour) {
        let mut inner = lock(&self.0);
        let before = inner.hours.insert(hash, now);
        // A clock that was wrong for a while does not take an access back.
        let later = before.unwrap_or(0).max(now);
        inner.hours.insert(hash, later);
        inner.changed |= before != Some(later);
    }

    /// The last access; one that is not known counts as now, and from now on.
    pub(super) fn last(&self, hash: &HashPart, now: Hour) -> Hour {
        let mut inner = lock(&self.0);
        if let Some(hour) = inner.hours.get(hash) {
            return *hour;
        }
        inner.hours.insert(*hash, now);
        inner.changed = true;
        now
    }

    /// Forgets everything that is not there.
    pub(super) fn keep_only(&self, there: &HashSet<HashPart>) {
        let mut inner = lock(&self.0);
        let before = inner.hours.len();
        inner.hours.retain(|hash, _| there.contains(hash));
        inner.changed |= before != inner.hours.len();
    }

    /// What to keep on disk, if that has changed since the last call. 44 bytes for each artifact.
    pub(super) fn to_keep(&self) -> Option<String> {
        use std::fmt::Write as _;

        let mut inner = lock(&self.0);
        if !std::mem::take(&mut inner.changed) {
            return None;
        }
        let mut text = String::with_capacity(inner.hours.len() * 44);
        for (hash, hour) in &inner.hours {
            // Writing to a String cannot fail.
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

    #[test]
    fn accesses_are_kept_over_a_restart_and_never_go_back() {
        let accesses = Accesses::default();
        assert_eq!(accesses.to_keep(), None);
        accesses.note(hash('a'), 100);
        accesses.note(hash('a'), 90);
        accesses.note(hash('b'), 5);
        let text = accesses.to_keep().unwrap();
        assert_eq!(accesses.to_keep(), None, "nothing has changed");
        accesses.note(hash('b'), 5);
        assert_eq!(accesses.to_keep(), None, "coarse on purpose");
        let accesses = Accesses::read(&format!("{text}{} 12x\n{}\ngarbage 7", hash('c'), hash('d')));
        assert_eq!((accesses.last(&hash('a'), 200), accesses.last(&hash('b'), 200)), (100, 5));
        assert_eq!(accesses.last(&hash('c'), 200), 200, "what is not known was accessed now");
        assert_eq!(accesses.last(&hash('c'), 300), 200);
        accesses.keep_only(&HashSet::from([hash('b')]));
        assert_eq!(accesses.to_keep().unwrap(), format!("{} 5\n", hash('b')));
    }

    #[test]
    fn a_record_is_read_line_by_line() {
        let (a, nar) = (hash('a'), "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s.nar.xz");
        let record = format!("aaaa\n{a}\n/nar/{nar}\n{a}\n\n/nix-cache-info\n{}", &a.as_str()[..20]);
        assert_eq!(parse(&record), HashSet::from([Had::NarInfo(a), Had::Nar(nar)]));
        assert_eq!(hour_of(7201), 2);
        assert_eq!(hour_of(-5), 0);
    }
}
