//! How long to wait before trying again.

use std::time::Duration;

/// Shortest upper bound of a wait.
const BASE: Duration = Duration::from_millis(200);
/// Longest wait.
const CAP: Duration = Duration::from_secs(10);

/// The wait before attempt number `attempt` (the first repetition is 1): somewhere between nothing and 200 ms, doubled
/// with each attempt up to 10 s, so that many clients of one source that failed do not come back together. `random` is
/// any number; equal numbers give equal waits.
#[must_use]
pub fn delay(attempt: u32, random: u64) -> Duration {
    let bound =
        BASE.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX)).min(CAP);
    let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % (millis + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn waits_grow_and_stay_below_their_bound(attempt in 1_u32.., random: u64) {
            prop_assert!(delay(attempt, random) <= CAP);
            let bound = 200_u64.saturating_mul(2_u64.saturating_pow(attempt - 1)).min(10_000);
            prop_assert_eq!(delay(attempt, bound), Duration::from_millis(bound), "the bound itself can be reached");
        }
    }
}
