//! How fast bytes may pass: a token bucket that is a function of the time that it is given.

use std::time::{Duration, Instant};

/// Bytes for which a transfer takes its turn, so that one with large chunks gets no more than one with small ones.
pub const TURN: u64 = 16 << 10;
/// What may pass at once after a pause is what passes in this time.
const BURST: Duration = Duration::from_millis(100);

/// A rate in bytes a second, and up to when it is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    rate: u64,
    used_until: Instant,
}

impl Bucket {
    /// So many bytes a second, at least 1.
    #[must_use]
    pub fn new(rate: u64, now: Instant) -> Self {
        Self { rate: rate.max(1), used_until: now }
    }

    /// Takes `bytes`; how long to wait before they may be used. Whoever takes first waits least, so that several who each take
    /// a [`TURN`] after they have waited for the one before get equal shares.
    pub fn take(&mut self, bytes: u64, now: Instant) -> Duration {
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let start = self.used_until.max(earliest);
        // A rate so low that the end cannot be told would be no rate.
        self.used_until = start.checked_add(cost).unwrap_or(start);
        self.used_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1 << 20;

    /// Bytes that each transfer got in `seconds`, when each takes chunks of its own size, in turns, as fast as it may.
    fn race(chunks: &[u64], seconds: u64) -> Vec<u64> {
        let start = Instant::now();
        let end = start + Duration::from_secs(seconds);
        let mut bucket = Bucket::new(RATE, start);
        // When each may go on, and how much of its chunk is left.
        let mut state: Vec<(Instant, u64)> = chunks.iter().map(|chunk| (start, *chunk)).collect();
        let mut got = vec![0; chunks.len()];
        loop {
            let next = (0..state.len()).min_by_key(|&one| state[one].0).unwrap();
            let (now, left) = state[next];
            if now >= end {
                return got;
            }
            let turn = left.min(TURN);
            got[next] += turn;
            let left = if left == turn { chunks[next] } else { left - turn };
            state[next] = (now + bucket.take(turn, now), left);
        }
    }

    #[test]
    fn the_rate_is_kept_and_reached() {
        for chunks in [&[1][..], &[700], &[TURN], &[1 << 20], &[3, 1 << 16, 1 << 20]] {
            let total: u64 = race(chunks, 10).iter().sum();
            let (most, least) = (RATE * 10 + RATE / 10 + TURN * 3, RATE * 10 - TURN);
            assert!((least..=most).contains(&total), "{chunks:?}: {total}");
        }
    }

    #[test]
    fn several_transfers_get_equal_shares_whatever_their_chunks() {
        let got = race(&[TURN, 1 << 20, 40 * TURN, 2 * TURN], 10);
        let fair = RATE * 10 / 4;
        for share in &got {
            assert!(share.abs_diff(fair) < fair / 50, "{got:?}");
        }
    }

    #[test]
    fn a_pause_is_not_saved_up() {
        let start = Instant::now();
        let mut bucket = Bucket::new(RATE, start);
        let later = start + Duration::from_hours(1);
        assert_eq!(bucket.take(RATE / 10, later), Duration::ZERO);
        // Times are kept in nanoseconds, so the last digits are rounded.
        let wait = bucket.take(RATE, later);
        assert!(wait.abs_diff(Duration::from_secs(1)) < Duration::from_micros(10), "{wait:?}");
        assert_eq!(bucket.take(0, later + Duration::from_secs(1)), Duration::ZERO);
    }

    #[test]
    fn no_number_is_too_large() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0, now);
        bucket.take(u64::MAX, now);
        bucket.take(u64::MAX, now);
        let wait = Bucket::new(u64::MAX, now).take(1 << 40, now);
        assert!(wait < Duration::from_micros(1), "{wait:?}");
    }
}
