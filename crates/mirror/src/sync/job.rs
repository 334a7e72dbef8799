//! What a pass is asked to do.

use std::sync::Arc;

use granary_fetch::Source;
use granary_nix::{HashPart, StorePath, Trust};
use granary_placement::{PARTITIONS, Partition};

/// What this mirror keeps, and where it gets it from.
#[derive(Clone, Debug, Default)]
pub struct Job {
    /// The policies that select this mirror.
    pub policies: Vec<PolicyJob>,
    /// Where artifacts can be had, in any order; the pass asks upstreams by priority, then mirrors.
    pub sources: Vec<Source>,
    /// Set when the outcome should say what is wanted altogether: the roots of policies that do not select this mirror.
    /// Their closures are only asked for when something is here that the policies above do not want: it may be the last
    /// copy of what these do.
    pub elsewhere: Option<Roots>,
    /// Whether somebody else says what is wanted here too, such as the mirror's own channels: then no policy is an answer, and
    /// not a question that nobody has answered yet.
    pub others: bool,
}

impl Job {
    /// Whether the policies that select this mirror say everything that they want.
    pub(super) fn is_known(&self) -> bool {
        self.policies.iter().all(|policy| policy.roots.unknown.is_none())
    }
}

/// One policy, as far as it concerns this mirror.
#[derive(Clone, Debug)]
pub struct PolicyJob {
    /// The policy's name, for the report.
    pub name: String,
    /// The roots; the closure of them all is the policy's catalog.
    pub roots: Roots,
    /// Which artifacts of the catalog this mirror holds.
    pub assigned: Assigned,
}

/// What a closure begins with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots {
    /// Those that somebody named. Each must be had, or it is not known what else is wanted.
    pub named: Vec<StorePath>,
    /// Those that lists of others name, such as channels. Of one that no upstream has nothing follows.
    pub listed: Vec<StorePath>,
    /// Why there may be more: a list that is not here yet.
    pub unknown: Option<String>,
}

impl Roots {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &StorePath> {
        self.named.iter().chain(&self.listed)
    }

    /// Whether nothing is asked for, as far as that is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.listed.is_empty()
    }

    /// Those of another, too.
    pub fn extend(&mut self, other: Self) {
        let Self { named, listed, unknown } = other;
        self.named.extend(named);
        self.listed.extend(listed);
        self.unknown = self.unknown.take().or(unknown);
    }
}

/// Named ones.
impl FromIterator<StorePath> for Roots {
    fn from_iter<I: IntoIterator<Item = StorePath>>(named: I) -> Self {
        Self { named: named.into_iter().collect(), ..Self::default() }
    }
}

/// Which artifacts of a catalog this mirror holds.
#[derive(Clone, Debug)]
pub enum Assigned {
    /// All of them: a mirror without a map.
    All,
    /// Those of the partitions that the placement gives to it.
    Partitions(Arc<PartitionSet>),
}

impl Assigned {
    /// Whether this mirror holds the artifact with this hash part.
    #[must_use]
    pub fn contains(&self, hash: &HashPart) -> bool {
        match self {
            Self::All => true,
            // A hash part always has a partition: both are made of the same characters.
            Self::Partitions(set) => {
                Partition::of(hash.as_str()).is_some_and(|partition| set.contains(partition))
            }
        }
    }
}

/// What counts from any of these sources: whatever one of them vouches for may stand on our disk.
#[must_use]
pub fn trust_of(sources: &[Source]) -> Trust {
    Trust::any_of(sources.iter().map(|source| &*source.trust))
}

/// A set of partitions, 4 KiB.
#[derive(Clone, PartialEq, Eq)]
pub struct PartitionSet(Box<[u64; PARTITIONS / 64]>);

impl PartitionSet {
    /// The partitions for which `holds` says yes.
    pub fn from_fn(mut holds: impl FnMut(Partition) -> bool) -> Self {
        let mut words = Box::new([0; PARTITIONS / 64]);
        for partition in Partition::all().filter(|partition| holds(*partition)) {
            words[partition.index() / 64] |= 1 << (partition.index() % 64);
        }
        Self(words)
    }

    /// Whether the partition is in the set.
    #[must_use]
    pub fn contains(&self, partition: Partition) -> bool {
        self.0[partition.index() / 64] >> (partition.index() % 64) & 1 == 1
    }

    /// How many partitions are in the set.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no partition is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl std::fmt::Debug for PartitionSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PartitionSet({} of {PARTITIONS})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artifact_is_assigned_by_its_partition() {
        let set = PartitionSet::from_fn(|partition| partition.number() % 3 == 1);
        assert_eq!(set.len(), PARTITIONS.div_ceil(3));
        let assigned = Assigned::Partitions(Arc::new(set));
        let hash = |start: &str| format!("{start}00000000000000000000000000000").parse::<HashPart>().unwrap();
        assert!(!assigned.contains(&hash("000")));
        assert!(assigned.contains(&hash("001")));
        assert!(assigned.contains(&hash("004")));
        assert!(Assigned::All.contains(&hash("000")));
        assert!(PartitionSet::from_fn(|_| false).is_empty());
    }
}
