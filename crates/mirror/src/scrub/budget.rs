//! Reading slowly.

use std::fs::File;
use std::io::{self, Read};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use tokio_util::sync::CancellationToken;

/// The longest nap: a stop is seen within it.
const NAP: Duration = Duration::from_millis(100);

/// So many bytes a second, whoever reads them.
#[derive(Debug)]
pub(super) struct Budget {
    bandwidth: u64,
    /// When what was read so far is paid for.
    paid: Instant,
    stop: CancellationToken,
}

impl Budget {
    pub(super) fn new(bandwidth: u64, stop: CancellationToken) -> Self {
        Self { bandwidth: bandwidth.max(1), paid: Instant::now(), stop }
    }

    /// Waits until bytes that were read are paid for. Fails at a stop.
    fn pay(&mut self, bytes: usize) -> io::Result<()> {
        let cost = Duration::from_nanos((bytes as u64).saturating_mul(1_000_000_000) / self.bandwidth);
        let from = self.paid.max(Instant::now());
        self.paid = from.checked_add(cost).unwrap_or(from);
        loop {
            if self.stop.is_cancelled() {
                return Err(io::Error::other("stopping"));
            }
            let left = self.paid.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(NAP));
        }
    }

    /// Whether reading was ended by the stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}

/// A file that is read from the disk itself, at the budget's pace.
pub(super) struct Paced<'b> {
    file: File,
    budget: &'b mut Budget,
}

impl<'b> Paced<'b> {
    pub(super) fn new(file: File, budget: &'b mut Budget) -> Self {
        // What the system remembers of the file says nothing about the disk. A filesystem that cannot forget is read anyhow.
        let _ = posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
        Self { file, budget }
    }
}

impl Read for Paced<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.budget.pay(length)?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_the_time_that_the_budget_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, vec![7; 300_000]).unwrap();
        let mut budget = Budget::new(1_000_000, CancellationToken::new());
        let (start, mut bytes) = (Instant::now(), Vec::new());
        Paced::new(File::open(&path).unwrap(), &mut budget).read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 300_000);
        assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    }

    #[test]
    fn a_stop_ends_it() {
        let stop = CancellationToken::new();
        let mut budget = Budget::new(1, stop.clone());
        stop.cancel();
        assert!(budget.pay(1 << 20).is_err() && budget.is_stopped());
    }
}
