//! A published artifact in as few bytes as it can be known by.

use granary_nix::{Compression, Hash};
use jiff::Timestamp;

use super::{Deriver, Held};
use crate::compact::{List, Place};

/// No time.
const NEVER: i64 = i64::MIN;

/// What a [`Held`] says, and where the rest is.
#[derive(Debug)]
pub(super) struct Packed {
    file_hash: Hash,
    pub(super) file_size: u64,
    /// Nanoseconds since the epoch, from the 17th to the 23rd century; any other time counts as none.
    at: i64,
    deriver: Deriver,
    narinfo_length: u32,
    compression: Compression,
    /// Where its hash part is.
    pub(super) part: Place,
    /// What it refers to.
    pub(super) references: List,
}

impl Packed {
    pub(super) fn new(held: Held, part: Place, references: List) -> Self {
        let Held { file_hash, file_size, compression, narinfo_length, at, deriver } = held;
        let at = at.and_then(|at| at.as_nanosecond().try_into().ok()).unwrap_or(NEVER);
        Self { file_hash, file_size, at, deriver, narinfo_length, compression, part, references }
    }

    pub(super) fn unpack(&self) -> Held {
        let Self { file_hash, file_size, at, deriver, narinfo_length, compression, .. } = *self;
        let at = Some(at).filter(|at| *at != NEVER);
        let at = at.and_then(|at| Timestamp::from_nanosecond(at.into()).ok());
        Held { file_hash, file_size, compression, narinfo_length, at, deriver }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_the_same() {
        assert!(size_of::<Option<Packed>>() <= 80);
        let times = ["2026-01-02T03:04:05.678901234Z", "1969-12-31T23:59:59.5Z", "-009999-01-02T00:00:00Z"];
        let times = times.map(|time| time.parse::<Timestamp>().ok());
        for (at, kept) in
            [None, times[0], times[1], times[2]].into_iter().zip([None, times[0], times[1], None])
        {
            let held = Held {
                file_hash: Hash::of(b"a"),
                file_size: u64::MAX,
                compression: Compression::Lzop,
                narinfo_length: 7,
                at,
                deriver: Deriver::default(),
            };
            assert_eq!(Packed::new(held, 1, List::default()).unpack(), Held { at: kept, ..held });
        }
    }
}
