//! What was refused and still is, newest first: by the passes over the policies, and by the rounds over the mirror's own
//! channels.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use granary_placement::report::Refusal;

use super::refused;

/// Refusals of channels that are told of: a list can have a hundred thousand paths that nobody has.
const MOST: usize = 256;

/// One refusal.
#[derive(Clone, Debug)]
struct Told {
    /// Which one it was; the newest has the highest number.
    number: u64,
    /// The round in which it was last refused.
    round: u64,
    /// When it came up; `None`: not in a pass that was watched.
    at: Option<Instant>,
    refusal: Refusal,
}

/// All that stand.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// Counts what is new.
    count: u64,
    /// Counts rounds over the channels.
    round: u64,
    policies: Vec<Told>,
    /// The newest [`MOST`].
    channels: Vec<Told>,
    /// How many channels have altogether, as of the last round.
    in_channels: u64,
}

impl Refusals {
    /// The running pass over the policies refused something that was not refused before.
    pub(super) fn by_policies(&mut self, refusal: &Refusal) {
        self.policies.retain(|told| told.refusal.store_path != refusal.store_path);
        let told = self.told(refusal);
        self.policies.push(told);
    }

    /// The pass over the policies has ended: these stand, and no others.
    pub(super) fn pass_ended(&mut self, standing: &[Refusal]) {
        let before: HashMap<&str, (u64, Option<Instant>)> = self
            .policies
            .iter()
            .map(|told| (told.refusal.store_path.as_str(), (told.number, told.at)))
            .collect();
        // In the order in which they came up; the pass itself sorts them by path.
        let told = |refusal: &Refusal| {
            let (number, at) = before.get(refusal.store_path.as_str()).copied().unwrap_or_default();
            Told { number, round: 0, at, refusal: refusal.clone() }
        };
        self.policies = standing.iter().map(told).collect();
    }

    /// The running round over the channels refused something, whether or not it was refused before.
    pub(super) fn by_channels(&mut self, refusal: &Refusal) {
        let same = |told: &&mut Told| told.refusal.store_path == refusal.store_path;
        if let Some(known) = self.channels.iter_mut().find(same) {
            known.refusal = refusal.clone();
            known.round = self.round;
            return;
        }
        if self.channels.len() == MOST {
            self.channels.remove(0);
        }
        let told = self.told(refusal);
        self.channels.push(told);
    }

    /// The round over the channels has ended. `count`: so many stand. `cut`: it did not try everything, so that what it did not
    /// refuse may still be refused.
    pub(super) fn round_ended(&mut self, count: u64, cut: bool) {
        let round = self.round;
        self.channels.retain(|told| cut || told.round == round);
        self.in_channels = if cut { count.max(self.in_channels) } else { count };
        self.round += 1;
    }

    /// Newest first, each path once.
    pub(super) fn newest_first(&self) -> Vec<refused::Told<'_>> {
        let mut all: Vec<&Told> = self.policies.iter().chain(&self.channels).collect();
        all.sort_by_key(|told| Reverse(told.number));
        let mut seen = HashSet::new();
        all.retain(|told| seen.insert(&told.refusal.store_path));
        all.into_iter().map(|told| (told.at, &told.refusal)).collect()
    }

    /// How many.
    pub(super) fn count(&self) -> u64 {
        let paths: HashSet<&str> =
            self.policies.iter().map(|told| told.refusal.store_path.as_str()).collect();
        let both =
            self.channels.iter().filter(|told| paths.contains(told.refusal.store_path.as_str())).count();
        let in_channels = self.in_channels.max(self.channels.len() as u64);
        (self.policies.len() - both) as u64 + in_channels
    }

    fn told(&mut self, refusal: &Refusal) -> Told {
        self.count += 1;
        Told { number: self.count, round: self.round, at: Some(Instant::now()), refusal: refusal.clone() }
    }
}

#[cfg(test)]
mod tests {
    use granary_placement::report::RefusalReason;

    use super::*;

    fn refusal(path: &str) -> Refusal {
        Refusal {
            store_path: path.into(),
            reason: RefusalReason::NarHash,
            message: String::new(),
            source: String::new(),
        }
    }

    fn told(refusals: &Refusals) -> (String, u64) {
        let newest = refusals.newest_first();
        (newest.iter().map(|(_, it)| it.store_path.as_str()).collect(), refusals.count())
    }

    #[test]
    fn passes_over_the_policies_and_rounds_over_the_channels_end_only_their_own() {
        let mut refusals = Refusals::default();
        refusals.by_policies(&refusal("a"));
        refusals.by_channels(&refusal("b"));
        refusals.by_policies(&refusal("c"));
        refusals.by_channels(&refusal("c"));
        assert_eq!(told(&refusals), ("cba".into(), 3), "newest first, and each once");
        refusals.round_ended(2, false);
        refusals.pass_ended(&[refusal("c")]);
        assert_eq!(told(&refusals), ("cb".into(), 2));
        refusals.by_channels(&refusal("b"));
        refusals.round_ended(1, true);
        assert_eq!(told(&refusals), ("cb".into(), 2), "a round that was cut short says nothing of the rest");
        refusals.by_channels(&refusal("b"));
        refusals.round_ended(1, false);
        refusals.pass_ended(&[]);
        assert_eq!(told(&refusals), ("b".into(), 1));
        refusals.round_ended(0, false);
        assert_eq!(told(&refusals), (String::new(), 0));
    }

    #[test]
    fn a_long_list_is_counted_and_not_told_in_full() {
        let mut refusals = Refusals::default();
        for number in 0..1000 {
            refusals.by_channels(&refusal(&number.to_string()));
        }
        refusals.round_ended(1000, false);
        assert_eq!((refusals.channels.len(), refusals.count()), (MOST, 1000));
        assert_eq!(refusals.newest_first()[0].1.store_path, "999");
    }
}
