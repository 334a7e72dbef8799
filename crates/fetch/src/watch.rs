//! Who watches a fetcher: for metrics, and to see that it moves.

use std::fmt::Debug;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use crate::Source;

/// What a source is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// A narinfo.
    NarInfo,
    /// A NAR file, or the rest of one.
    Nar,
    /// A file beside artifacts: a listing, a log, a realisation.
    Extra,
}

/// What came of one request, as far as the head of the answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The file, or the part of it, follows.
    Ok,
    /// There is no such file.
    Absent,
    /// The source answers with a failure.
    Failed,
    /// No connection, or one that broke before the answer.
    Unreachable,
    /// Nothing was said for as long as the limits allow.
    Silent,
}

/// Watches a fetcher. Every method is called from the transfer itself and must return at once.
pub trait Watch: Debug + Send + Sync {
    /// A request ended, one way or the other.
    fn asked(&self, source: &Source, what: Asked, outcome: Outcome) {
        let _ = (source, what, outcome);
    }

    /// Bytes of a NAR file came.
    fn received(&self, source: &Source, bytes: usize) {
        let _ = (source, bytes);
    }

    /// The transfers and the verifications that run changed by these numbers.
    fn running(&self, transfers: i64, verifications: i64) {
        let _ = (transfers, verifications);
    }

    /// A part of a NAR file was read back and decompressed.
    fn verifying(&self) {}

    /// A whole NAR file was verified, or found to be wrong, in this time.
    fn verified(&self, time: Duration) {
        let _ = time;
    }
}

/// Watches nothing.
impl Watch for () {}

/// Counts one transfer or one verification as running while it lives.
#[derive(Debug)]
pub(crate) struct Running<'w> {
    watch: &'w dyn Watch,
    transfers: i64,
    verifications: i64,
}

impl<'w> Running<'w> {
    /// A transfer.
    pub(crate) fn transfer(watch: &'w dyn Watch) -> Self {
        Self::begin(watch, 1, 0)
    }

    /// A verification.
    pub(crate) fn verification(watch: &'w dyn Watch) -> Self {
        Self::begin(watch, 0, 1)
    }

    fn begin(watch: &'w dyn Watch, transfers: i64, verifications: i64) -> Self {
        watch.running(transfers, verifications);
        Self { watch, transfers, verifications }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.watch.running(-self.transfers, -self.verifications);
    }
}

/// Tells of every read.
#[derive(Debug)]
pub(crate) struct Watched<R> {
    pub(crate) inner: R,
    pub(crate) watch: Arc<dyn Watch>,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.watch.verifying();
        self.inner.read(buffer)
    }
}
