//! A NAR file that is being written, for those who read it meanwhile.

use granary_nix::Hash;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

/// How far a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grown {
    /// How often the writing began anew, with a file that may have other bytes.
    pub restarts: u32,
    /// How many bytes the source announced.
    pub announced: Option<u64>,
    /// Bytes that can be read from the file.
    pub bytes: u64,
    /// SHA-256 of the whole file, once the source has said that this is all.
    pub digest: Option<Hash>,
}

/// Tells of a file that grows; see [`crate::Fetcher::nar_followed`].
#[derive(Debug)]
pub struct Growth(watch::Sender<Grown>);

impl Default for Growth {
    fn default() -> Self {
        Self(watch::Sender::new(Grown::default()))
    }
}

impl Growth {
    /// Hears of every change; the channel closes when the file grows no more.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Grown> {
        self.0.subscribe()
    }

    /// The source said how many bytes there are.
    pub(crate) fn announce(&self, bytes: Option<u64>) {
        self.0.send_modify(|grown| grown.announced = bytes);
    }

    /// Everything that was said of the bytes holds no longer.
    fn restart(&self) {
        self.0.send_if_modified(|grown| {
            let begun = grown.bytes > 0;
            grown.restarts += u32::from(begun);
            (grown.bytes, grown.digest) = (0, None);
            begun
        });
    }
}

/// Counts and hashes what is written, for a [`Growth`] if there is one.
pub(crate) struct Follow<'g> {
    growth: Option<&'g Growth>,
    hasher: Sha256,
}

impl<'g> Follow<'g> {
    /// The writing begins.
    pub(crate) fn begin(growth: Option<&'g Growth>) -> Self {
        let mut follow = Self { growth, hasher: Sha256::new() };
        follow.restart();
        follow
    }

    /// The file is empty again.
    pub(crate) fn restart(&mut self) {
        self.hasher = Sha256::new();
        if let Some(growth) = self.growth {
            growth.restart();
        }
    }

    /// These bytes stand in the file now.
    pub(crate) fn written(&mut self, bytes: &[u8]) {
        if let Some(growth) = self.growth {
            self.hasher.update(bytes);
            growth.0.send_modify(|grown| grown.bytes += bytes.len() as u64);
        }
    }

    /// Nothing follows.
    pub(crate) fn end(self) {
        if let Some(growth) = self.growth {
            let digest = Hash::from_bytes(self.hasher.finalize().into());
            growth.0.send_modify(|grown| grown.digest = Some(digest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_begins_anew_says_so_and_is_hashed_from_its_start() {
        let growth = Growth::default();
        let seen = growth.follow();
        let mut follow = Follow::begin(Some(&growth));
        growth.announce(Some(6));
        follow.restart();
        assert_eq!(seen.borrow().restarts, 0, "nothing was written yet");
        follow.written(b"wrong");
        follow.restart();
        assert_eq!(*seen.borrow(), Grown { restarts: 1, announced: Some(6), bytes: 0, digest: None });
        follow.written(b"abc");
        follow.written(b"def");
        assert_eq!((seen.borrow().bytes, seen.borrow().digest), (6, None));
        follow.end();
        assert_eq!(seen.borrow().digest, Some(Hash::of(b"abcdef")));
    }
}
