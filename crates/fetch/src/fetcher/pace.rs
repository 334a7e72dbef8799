//! Sources that send, but so slowly that they hold a connection for ever.

use std::time::Duration;

use super::answer::gave_up;
use crate::{Fault, Limits};

/// What a source has sent of late.
#[derive(Debug)]
pub(super) struct Pace {
    least: u64,
    window: Duration,
    waited: Duration,
    received: u64,
}

impl Pace {
    pub(super) fn new(limits: &Limits) -> Self {
        let Limits { pace_bytes, pace_window, .. } = *limits;
        Self { least: pace_bytes, window: pace_window, waited: Duration::ZERO, received: 0 }
    }

    /// So many bytes came after a wait. Fails when those of a whole window were too few: whoever is that slow is not
    /// asked for the rest while others could be asked for all of it.
    pub(super) fn received(&mut self, bytes: usize, waited: Duration) -> Result<(), Fault> {
        self.waited += waited;
        self.received += bytes as u64;
        if self.waited < self.window {
            return Ok(());
        }
        if self.received < self.least {
            let (received, seconds) = (self.received, self.waited.as_secs_f64());
            return Err(gave_up(&format!("it sent only {received} bytes in {seconds:.1} s")));
        }
        (self.waited, self.received) = (Duration::ZERO, 0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use granary_placement::report::RefusalReason;

    use super::*;

    /// Seconds until a source that sends `bytes` each second is given up.
    fn patience(bytes: usize) -> Option<u64> {
        let mut pace = Pace::new(&Limits::default());
        (1..=300).find(|_| pace.received(bytes, Duration::from_secs(1)).is_err())
    }

    #[test]
    fn a_trickle_is_given_up_after_a_window_and_a_slow_line_is_not() {
        assert_eq!(patience(1), Some(30));
        assert_eq!(patience(1023), Some(30));
        assert_eq!(patience(1024), None);
        let mut pace = Pace::new(&Limits::default());
        for _ in 0..300 {
            // We wait for our disk, and not for the source.
            assert!(pace.received(1, Duration::from_micros(1)).is_ok());
        }
    }

    #[test]
    fn it_has_to_keep_up_and_counts_as_a_failure_of_the_source() {
        let mut pace = Pace::new(&Limits::default());
        assert!(pace.received(1 << 20, Duration::from_secs(30)).is_ok());
        let fault = pace.received(1, Duration::from_secs(30)).unwrap_err();
        assert_eq!(fault.reason, RefusalReason::UpstreamUnreachable);
        assert_eq!(fault.message, "it sent only 1 bytes in 30.0 s");
    }
}
