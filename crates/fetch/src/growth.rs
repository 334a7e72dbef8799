//! A NAR file that is being written, for those who read it meanwhile.

use std::io::{self, Read};

use granary_nix::Hash;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

/// How far a file is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grown {
    /// How often the writing began anew, with a file that may have other bytes.
    pub restarts: u32,
    /// How often what was written turned out to be wrong; the writing begins anew after it.
    pub wrong: u32,
    /// How many bytes the source announced.
    pub announced: Option<u64>,
    /// Bytes that can be read from the file.
    pub bytes: u64,
    /// SHA-256 of the whole file, once the source has said that this is all.
    pub digest: Option<Hash>,
}

/// Bytes that are hashed at once of what is there already.
const CHUNK: usize = 1 << 16;

/// Tells of a file that grows; see [`crate::Fetcher::rest_of_nar_followed`].
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

    /// All of the file is there, and it is wrong.
    pub(crate) fn wrong(&self) {
        self.0.send_modify(|grown| grown.wrong += 1);
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
    /// Bytes that were there before, as long as nothing has come after them: nobody is told of them before a source has said
    /// that it goes on.
    untold: u64,
}

impl<'g> Follow<'g> {
    /// The writing begins.
    pub(crate) fn begin(growth: Option<&'g Growth>) -> Self {
        let mut follow = Self { growth, hasher: Sha256::new(), untold: 0 };
        follow.restart();
        follow
    }

    /// The file has these bytes, and the writing goes on after them.
    pub(crate) fn after(&mut self, mut before: impl Read) -> io::Result<()> {
        if self.growth.is_none() {
            return Ok(());
        }
        let mut chunk = vec![0; CHUNK];
        loop {
            match before.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.hasher.update(&chunk[..length]);
                    self.untold += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The file is empty again.
    pub(crate) fn restart(&mut self) {
        (self.hasher, self.untold) = (Sha256::new(), 0);
        if let Some(growth) = self.growth {
            growth.restart();
        }
    }

    /// These bytes stand in the file now.
    pub(crate) fn written(&mut self, bytes: &[u8]) {
        if let Some(growth) = self.growth {
            self.hasher.update(bytes);
            let more = std::mem::take(&mut self.untold) + bytes.len() as u64;
            growth.0.send_modify(|grown| grown.bytes += more);
        }
    }

    /// Nothing follows.
    pub(crate) fn end(self) {
        if let Some(growth) = self.growth {
            let digest = Hash::from_bytes(self.hasher.finalize().into());
            growth.0.send_modify(|grown| {
                grown.bytes += self.untold;
                grown.digest = Some(digest);
            });
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
        assert_eq!(*seen.borrow(), Grown { restarts: 1, announced: Some(6), ..Grown::default() });
        follow.written(b"abc");
        follow.written(b"def");
        assert_eq!((seen.borrow().bytes, seen.borrow().digest), (6, None));
        follow.end();
        assert_eq!(seen.borrow().digest, Some(Hash::of(b"abcdef")));
    }

    #[test]
    fn what_was_there_before_is_told_when_more_has_come() {
        for rest in [&b"def"[..], b""] {
            let growth = Growth::default();
            let seen = growth.follow();
            let mut follow = Follow::begin(Some(&growth));
            follow.after(&b"abc"[..]).unwrap();
            assert_eq!(seen.borrow().bytes, 0, "no source has said that it goes on");
            if !rest.is_empty() {
                follow.written(rest);
            }
            follow.end();
            let whole = [b"abc", rest].concat();
            assert_eq!(
                (seen.borrow().bytes, seen.borrow().digest),
                (whole.len() as u64, Some(Hash::of(&whole)))
            );
        }
        let growth = Growth::default();
        let seen = growth.follow();
        let mut follow = Follow::begin(Some(&growth));
        follow.after(&b"other"[..]).unwrap();
        follow.restart();
        follow.written(b"abc");
        assert_eq!((seen.borrow().restarts, seen.borrow().bytes), (0, 3), "nobody has seen it");
        follow.end();
        assert_eq!(seen.borrow().digest, Some(Hash::of(b"abc")));
    }
}
