//! Where the scrub is, kept in `.granary/scrub.json`. Losing it begins a new round, and does no other harm.

use std::time::Duration;

use granary_nix::HashPart;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One reading of everything, in the order of the hash parts: so what comes next is what was read longest ago. What is
/// published meanwhile was verified then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Round {
    /// When it began, for people: the clock may have jumped since.
    pub began: Timestamp,
    /// How long it has taken so far, by the steady clock of each run, and with the pauses between them.
    #[serde(default, with = "millis")]
    pub elapsed: Duration,
    /// When this was kept on the disk.
    #[serde(default)]
    pub kept: Option<Timestamp>,
    /// The last artifact that was read in it.
    #[serde(default, with = "by_name")]
    pub after: Option<HashPart>,
    /// Bytes that were read in it.
    #[serde(default)]
    pub bytes: u64,
    /// Artifacts that were read in it.
    #[serde(default)]
    pub artifacts: u64,
    /// When the round before it ended.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// Artifacts that were found rotten, in all rounds that are remembered.
    #[serde(default)]
    pub rotten: u64,
}

impl Round {
    /// The first.
    #[must_use]
    pub fn first(now: Timestamp) -> Self {
        Self {
            began: now,
            elapsed: Duration::ZERO,
            kept: None,
            after: None,
            bytes: 0,
            artifacts: 0,
            ended: None,
            rotten: 0,
        }
    }

    /// Goes on in another run. How long the mirror was away only the clock on the wall knows; it is believed for a `period`
    /// at most, and never a time that runs backwards, so that a clock that jumped hastens one round and delays none.
    #[must_use]
    pub fn resumed(self, now: Timestamp, period: Duration) -> Self {
        let away = self.kept.and_then(|kept| Duration::try_from(now.duration_since(kept)).ok());
        Self { elapsed: self.elapsed.saturating_add(away.unwrap_or_default().min(period)), ..self }
    }

    /// An artifact has been read.
    pub fn read(&mut self, hash: HashPart, bytes: u64) {
        self.after = Some(hash);
        self.bytes = self.bytes.saturating_add(bytes);
        self.artifacts += 1;
    }

    /// All have been read.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Self {
        Self { ended: Some(now), rotten: self.rotten, ..Self::first(now) }
    }
}

/// Whole milliseconds.
mod millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Ok(Duration::from_millis(u64::deserialize(from)?))
    }
}

/// A hash part that is none counts as none: the round begins at the front again.
mod by_name {
    use granary_nix::HashPart;
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "serde calls it so")]
    pub(super) fn serialize<S: Serializer>(hash: &Option<HashPart>, to: S) -> Result<S::Ok, S::Error> {
        match hash {
            Some(hash) => to.serialize_some(hash.as_str()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<HashPart>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.and_then(|text| text.parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_goes_on_where_it_was_and_is_followed_by_another() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let hash: HashPart = "00bgd045z0d4icpbc2yyz4gx48ak44la".parse().unwrap();
        let mut round = Round { elapsed: Duration::from_secs(3), kept: Some(at(4)), ..Round::first(at(1)) };
        round.read(hash, 7);
        round.rotten = 2;
        let kept: Round = serde_json::from_str(&serde_json::to_string(&round).unwrap()).unwrap();
        assert_eq!(kept, round);
        assert_eq!(kept.next(at(5)), Round { ended: Some(at(5)), rotten: 2, ..Round::first(at(5)) });
        let damaged: Round = serde_json::from_str(r#"{"began":"2026-01-01T00:00:00Z","after":"x"}"#).unwrap();
        assert_eq!((damaged.after, damaged.elapsed), (None, Duration::ZERO));
    }

    #[test]
    fn a_clock_that_jumped_while_the_mirror_was_away_hastens_one_round_and_delays_none() {
        let (day, year) = (86_400, 365 * 86_400);
        let period = Duration::from_hours(14 * 24);
        let elapsed = |kept: Option<i64>, now: i64| {
            let at = |second| Timestamp::from_second(second).unwrap();
            let round =
                Round { elapsed: Duration::from_hours(24), kept: kept.map(at), ..Round::first(at(0)) };
            round.resumed(at(now), period).elapsed.as_secs() / 86_400
        };
        assert_eq!(elapsed(Some(56 * year), 56 * year + 2 * day), 3, "it was away for two days");
        assert_eq!(elapsed(Some(56 * year), 57 * year), 15, "a year forward");
        assert_eq!(elapsed(Some(56 * year), 55 * year), 1, "a year back");
        assert_eq!(elapsed(Some(56 * year), 0), 1, "it starts in 1970");
        assert_eq!(elapsed(Some(0), 56 * year), 15, "it was in 1970");
        assert_eq!(elapsed(None, 56 * year), 1);
    }
}
