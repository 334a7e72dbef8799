//! Which guests leave when there is no room: those that clients have not asked for the longest, referrers first. Pure.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use granary_nix::HashPart;

/// A published artifact that is here only because a client asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guest {
    /// Bytes of its NAR file.
    pub(super) bytes: u64,
    /// When a client last had it or its narinfo, in counted hours; 0 when that is not known.
    pub(super) accessed: u32,
    /// When it was published, in seconds: of those that were accessed in one hour the elder leave first.
    pub(super) published: i64,
    /// How many other published artifacts refer to it.
    pub(super) referrers: u32,
}

/// The guests that leave so that `needed` bytes become free, in the order in which they have to: none before everything in
/// the tree that refers to it. `references` are those of one of them. All that can, when they are not enough.
pub(super) fn choose(
    mut guests: HashMap<HashPart, Guest>,
    needed: u64,
    mut references: impl FnMut(&HashPart) -> Vec<HashPart>,
) -> Vec<HashPart> {
    let key = |hash: &HashPart, guest: &Guest| Reverse((guest.accessed, guest.published, *hash));
    let free = guests.iter().filter(|(_, guest)| guest.referrers == 0);
    let mut free: BinaryHeap<_> = free.map(|(hash, guest)| key(hash, guest)).collect();
    let (mut leaving, mut freed) = (Vec::new(), 0_u64);
    while freed < needed
        && let Some(Reverse((_, _, hash))) = free.pop()
    {
        freed = freed.saturating_add(guests.get(&hash).map_or(0, |guest| guest.bytes));
        leaving.push(hash);
        let mut references = references(&hash);
        references.sort_unstable();
        references.dedup();
        for reference in references.into_iter().filter(|reference| *reference != hash) {
            let Some(guest) = guests.get_mut(&reference) else { continue };
            guest.referrers = guest.referrers.saturating_sub(1);
            if guest.referrers == 0 {
                free.push(key(&reference, guest));
            }
        }
    }
    leaving
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(name: char) -> HashPart {
        name.to_string().repeat(32).parse().unwrap()
    }

    /// Each is a name, the hour of its last access, and its references; of 10 bytes each. `wanted` are no guests.
    fn leave(all: &[(char, u32, &str)], wanted: &str, needed: u64) -> String {
        let references: HashMap<HashPart, Vec<HashPart>> = all
            .iter()
            .map(|(name, _, references)| (hash(*name), references.chars().map(hash).collect()))
            .collect();
        let referrers = |name: char| {
            let of = all.iter().filter(|(other, _, references)| *other != name && references.contains(name));
            u32::try_from(of.count()).unwrap()
        };
        let guest = |(name, accessed, _): &(char, u32, &str)| {
            let guest = Guest { bytes: 10, accessed: *accessed, published: 0, referrers: referrers(*name) };
            (hash(*name), guest)
        };
        let guests = all.iter().filter(|(name, ..)| !wanted.contains(*name)).map(guest).collect();
        let leaving = choose(guests, needed, |hash| references[hash].clone());
        leaving.iter().map(|hash| &hash.as_str()[..1]).collect()
    }

    #[test]
    fn the_longest_not_accessed_leaves_first() {
        let all = [('a', 3, ""), ('b', 1, ""), ('c', 2, "")];
        assert_eq!(leave(&all, "", 0), "");
        assert_eq!(leave(&all, "", 1), "b");
        assert_eq!(leave(&all, "", 20), "bc");
        assert_eq!(leave(&all, "", 1000), "bca");
    }

    #[test]
    fn referrers_leave_before_what_they_need_however_old_that_is() {
        let all = [('a', 9, "b"), ('b', 1, "c"), ('c', 0, ""), ('d', 8, "")];
        assert_eq!(leave(&all, "", 10), "d", "old libraries of what is used stay");
        assert_eq!(leave(&all, "", 30), "dab");
        // A cycle, which no honest store has, stays.
        assert_eq!(leave(&[('a', 1, "ab"), ('b', 1, "a")], "", 100), "");
        assert_eq!(leave(&[('a', 1, "a")], "", 100), "a", "oneself is no referrer");
    }

    #[test]
    fn what_is_wanted_stays_and_all_that_it_needs() {
        let all = [('w', 0, "x"), ('x', 0, ""), ('a', 5, "x"), ('b', 6, "")];
        assert_eq!(leave(&all, "w", 1000), "ab");
        assert_eq!(leave(&all, "wx", 1000), "ab");
    }

    proptest! {
        #[test]
        fn the_rest_is_closed_at_every_step(
            edges in prop::collection::vec((0..12_usize, 0..12_usize), 0..40),
            hours in prop::collection::vec(0..5_u32, 12),
            needed in 0..150_u64,
        ) {
            let names: Vec<char> = "0123456789ab".chars().collect();
            // References lead to smaller numbers, as in a store.
            let all: Vec<(char, u32, String)> = (0..12).map(|one| {
                let to = edges.iter().filter(|(from, to)| *from == one && to < from).map(|(_, to)| names[*to]);
                (names[one], hours[one], to.collect())
            }).collect();
            let all: Vec<(char, u32, &str)> = all.iter().map(|(name, hour, to)| (*name, *hour, to.as_str())).collect();
            let leaving = leave(&all, "", needed);
            prop_assert_eq!(leaving.len() as u64, needed.div_ceil(10).min(12));
            for (place, gone) in leaving.char_indices() {
                let left = all.iter().filter(|(name, ..)| !leaving[..=place].contains(*name));
                for (_, _, references) in left {
                    prop_assert!(!references.contains(gone), "{} left before its referrers: {}", gone, leaving);
                }
            }
        }
    }
}
