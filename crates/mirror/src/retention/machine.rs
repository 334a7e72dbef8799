//! What may go: decided from what is wanted, what is here, and how long both were seen. Pure.
//!
//! Time is counted, never read from a clock on the wall ([`crate::counted`]): [`Machine::step`] is called after each pass, and the
//! time since the call before it counts, once, if both calls knew everything that is wanted. A step counts for a day at most.
//! So no clock that jumps, no outage and no unreadable instruction makes anything go early.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use granary_nix::HashPart;
use serde::{Deserialize, Serialize};

use crate::compact::HashParts;
use crate::counted::Counted;

/// A client may remember a narinfo for so long, and ask for the NAR that it names.
pub const ANSWERED: Duration = Duration::from_hours(30 * 24);
/// The most that one step counts for: passes come at least daily.
pub const LONGEST_STEP: Duration = Duration::from_hours(24);

/// How long things stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Published, though nobody wants it any more.
    pub grace: Duration,
    /// Its NAR file in the trash after that.
    pub trash: Duration,
}

/// What has been seen so far, as it is kept on disk. Losing it lengthens every period, and nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Seen {
    /// Milliseconds that have been counted.
    clock: u64,
    /// Published artifacts that nobody wants, and the count at which that was first seen.
    #[serde(with = "by_name")]
    unwanted: BTreeMap<HashPart, u64>,
    /// Artifacts in the trash, and the count at which they were first seen there unwanted.
    #[serde(with = "by_name")]
    trashed: BTreeMap<HashPart, u64>,
}

/// What is here at the end of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Here<'h> {
    /// Everything published.
    pub published: &'h [HashPart],
    /// Everything in the trash, and whether its NAR file is still there.
    pub trashed: &'h [(HashPart, bool)],
    /// Everything that anybody wants; `None` when that is not completely known.
    pub wanted: Option<&'h HashParts>,
}

/// What may be done now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Published artifacts whose grace is over: into the trash.
    pub take_out: Vec<HashPart>,
    /// Artifacts whose time in the trash is over: their NAR files may be removed.
    pub empty: Vec<HashPart>,
    /// Artifacts for which nobody can ask any more: the narinfos in the trash may be removed too.
    pub forget: Vec<HashPart>,
    /// Whether something began or ended, so that it should be kept at once.
    pub changed: bool,
}

/// Counts the periods.
#[derive(Clone, Debug)]
pub struct Machine {
    seen: Seen,
    /// From steps that knew everything to the next that did.
    counted: Counted,
}

impl Machine {
    /// Goes on from what was kept.
    #[must_use]
    pub fn new(seen: Seen) -> Self {
        Self { counted: Counted::from(Duration::from_millis(seen.clock)), seen }
    }

    /// What to keep.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// How many published artifacts nobody wants.
    #[must_use]
    pub fn unwanted(&self) -> usize {
        self.seen.unwanted.len()
    }

    /// A pass has ended at `now`, which is time since the program started. Other rules than in the step before hold for what is
    /// counted already, too.
    pub fn step(&mut self, rules: Rules, here: Here<'_>, now: Duration) -> Steps {
        let Here { published, trashed, wanted } = here;
        let Some(wanted) = wanted else {
            self.counted.pause();
            return Steps::default();
        };
        self.counted.step(now, LONGEST_STEP);
        let clock = u64::try_from(self.counted.total().as_millis()).unwrap_or(u64::MAX);
        self.seen.clock = clock;
        let before = (self.seen.unwanted.len(), self.seen.trashed.len());

        let unwanted: HashSet<&HashPart> = published.iter().filter(|hash| !wanted.contains(hash)).collect();
        self.seen.unwanted.retain(|hash, _| unwanted.contains(hash));
        let ended = before.0 != self.seen.unwanted.len();
        for hash in &unwanted {
            self.seen.unwanted.entry(**hash).or_insert(clock);
        }
        let there: HashSet<&HashPart> = trashed.iter().map(|(hash, _)| hash).collect();
        self.seen.trashed.retain(|hash, _| there.contains(hash));
        for (hash, _) in trashed {
            // What is wanted is on its way back, and begins anew when that is over.
            if wanted.contains(hash) {
                self.seen.trashed.remove(hash);
            } else {
                self.seen.trashed.entry(*hash).or_insert(clock);
            }
        }

        let over =
            |since: u64, period: Duration| u128::from(clock.saturating_sub(since)) >= period.as_millis();
        let Rules { grace, trash } = rules;
        let take_out = self.seen.unwanted.iter().filter(|(_, since)| over(**since, grace));
        let take_out: Vec<HashPart> = take_out.map(|(hash, _)| *hash).collect();
        let trashed_since = &self.seen.trashed;
        let is_over = |hash: &HashPart, period: Duration| {
            !wanted.contains(hash) && trashed_since.get(hash).is_some_and(|since| over(*since, period))
        };
        let (in_trash, known) = (trash, trash.max(ANSWERED));
        let empty = trashed.iter().filter(|(hash, nar)| *nar && is_over(hash, in_trash));
        let empty = empty.map(|(hash, _)| *hash).collect();
        let forget = trashed.iter().filter(|(hash, _)| is_over(hash, known)).map(|(hash, _)| *hash).collect();
        let began = before != (self.seen.unwanted.len(), self.seen.trashed.len());
        Steps { take_out, empty, forget, changed: began || ended }
    }
}

/// Hash parts as the keys of a JSON object. One that is none is left out, which only lengthens its period.
mod by_name {
    use std::collections::BTreeMap;

    use granary_nix::HashPart;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(map: &BTreeMap<HashPart, u64>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(hash, count)| (hash.as_str(), count)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<HashPart, u64>, D::Error> {
        let map = BTreeMap::<String, u64>::deserialize(from)?;
        Ok(map.into_iter().filter_map(|(name, count)| Some((name.parse().ok()?, count))).collect())
    }
}

#[cfg(test)]
mod tests;
