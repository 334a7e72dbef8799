//! A body that ends well only when its bytes are the right ones.

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use granary_fetch::{Broken, Fault};
use granary_nix::Hash;
use granary_placement::report::RefusalReason;
use sha2::{Digest as _, Sha256};

/// Why a body is cut.
#[derive(Debug, thiserror::Error)]
pub(super) enum Cut {
    /// The source broke off, or was silent for too long.
    #[error("the source broke off: {0}")]
    Source(#[from] Broken),
    /// The bytes are not those of the file.
    #[error("the bytes have the hash {actual}, not {expected}")]
    Hash { expected: Hash, actual: Hash },
    /// Too few or too many bytes.
    #[error("{actual} bytes came, not {expected}")]
    Size { expected: u64, actual: u64 },
}

/// What a whole file must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Expected {
    /// Its hash, if that is known.
    pub hash: Option<Hash>,
    /// Its size in bytes, if that is known.
    pub size: Option<u64>,
    /// The most bytes that it may have.
    pub most: u64,
}

/// Passes `body` on, one chunk behind: the last chunk is passed on only after everything, itself included, proved to be
/// `expected`. Else the stream ends with an error, by which the server cuts the connection and the client knows.
pub(super) fn whole<E: Into<Cut>>(
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    expected: Expected,
) -> impl Stream<Item = Result<Bytes, Cut>> {
    let start = State { body, expected, hasher: Sha256::new(), length: 0, held: None };
    futures::stream::try_unfold(Some(start), async |state| {
        let Some(mut state) = state else { return Ok(None) };
        loop {
            match state.body.next().await {
                Some(chunk) => {
                    let chunk = chunk.map_err(Into::into)?;
                    if chunk.is_empty() {
                        continue;
                    }
                    state.take_in(&chunk)?;
                    if let Some(before) = state.held.replace(chunk) {
                        return Ok(Some((before, Some(state))));
                    }
                }
                None => return state.finish().map(|last| last.map(|last| (last, None))),
            }
        }
    })
}

/// Compares a whole file, as long as it is small, with what a narinfo says about the NAR in it.
pub(super) async fn nar(expected: granary_fetch::Expected, file: Vec<u8>) -> Result<(), Fault> {
    let check = tokio::task::spawn_blocking(move || expected.check(&file[..]));
    let disk = |error: &dyn std::error::Error| Fault::new(RefusalReason::Disk, error.to_string());
    check.await.map_err(|error| disk(&error))?.map_err(|error| disk(&error))?.map(drop)
}

struct State<B> {
    body: B,
    expected: Expected,
    hasher: Sha256,
    length: u64,
    held: Option<Bytes>,
}

impl<B> State<B> {
    fn take_in(&mut self, chunk: &Bytes) -> Result<(), Cut> {
        self.hasher.update(chunk);
        self.length += chunk.len() as u64;
        let expected = self.expected.size.unwrap_or(self.expected.most);
        if self.length > expected { Err(Cut::Size { expected, actual: self.length }) } else { Ok(()) }
    }

    fn finish(self) -> Result<Option<Bytes>, Cut> {
        let Expected { hash, size, most: _ } = self.expected;
        if let Some(expected) = size
            && expected != self.length
        {
            return Err(Cut::Size { expected, actual: self.length });
        }
        let actual = Hash::from_bytes(self.hasher.finalize().into());
        match hash {
            Some(expected) if expected != actual => Err(Cut::Hash { expected, actual }),
            _ => Ok(self.held),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    /// What a client sees: the bytes, and why the body was cut.
    fn pass(chunks: &[&'static str], size: Option<u64>) -> (String, Option<Cut>) {
        let body = chunks.iter().map(|chunk| Ok::<_, Cut>(Bytes::from_static(chunk.as_bytes())));
        let expected = Expected { hash: Some(Hash::of(b"abcdef")), size, most: 8 };
        let mut seen = String::new();
        let mut cut = None;
        for item in block_on(whole(futures::stream::iter(body), expected).collect::<Vec<_>>()) {
            assert!(cut.is_none(), "nothing follows an error");
            match item {
                Ok(chunk) => seen.push_str(str::from_utf8(&chunk).unwrap()),
                Err(error) => cut = Some(error),
            }
        }
        (seen, cut)
    }

    #[test]
    fn the_right_bytes_pass() {
        for size in [None, Some(6)] {
            let (seen, cut) = pass(&["ab", "", "cd", "ef"], size);
            assert_eq!((seen.as_str(), cut.is_none()), ("abcdef", true));
        }
    }

    #[test]
    fn wrong_bytes_never_end_well() {
        let (seen, cut) = pass(&["ab", "cd", "eX"], None);
        assert_eq!(seen, "abcd", "the last chunk is held back");
        assert!(matches!(cut, Some(Cut::Hash { .. })), "{cut:?}");
        assert!(matches!(pass(&["Xbcdef"], Some(6)), (seen, Some(Cut::Hash { .. })) if seen.is_empty()));
    }

    #[test]
    fn too_much_and_too_little_are_cut() {
        assert!(matches!(pass(&["abc", "def", "g"], Some(6)).1, Some(Cut::Size { expected: 6, actual: 7 })));
        assert!(matches!(pass(&["abcdef", "ghi"], None).1, Some(Cut::Size { expected: 8, actual: 9 })));
        assert!(matches!(pass(&["abc"], Some(6)).1, Some(Cut::Size { expected: 6, actual: 3 })));
        assert!(matches!(pass(&[], None).1, Some(Cut::Hash { .. })));
    }
}
