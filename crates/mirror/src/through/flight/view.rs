//! How much of a file clients may see, and what it is. Decisions; nothing here waits or reads.

use std::fs::File;
use std::sync::Arc;

use granary_fetch::{Expected, Grown};
use granary_nix::Hash;

/// A file up to this size is shown only when all of it is verified, so that an upstream that lies or breaks off costs the
/// client nothing.
pub(super) const CHECKED_FIRST: u64 = 1 << 20;
/// Bytes that are held back at the end of a larger file until its hash is known.
pub(super) const HELD_BACK: u64 = 64 << 10;

/// How far a flight is.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    /// The file that is read; `None` until an upstream has given a part of it.
    pub(super) body: Option<Arc<Body>>,
    /// Bytes of it that may be read.
    pub(super) visible: u64,
    /// How it ended.
    pub(super) end: Option<End>,
}

/// How a flight ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All of the file is visible, and right.
    Good,
    /// No upstream has it.
    Missing,
    /// No upstream gave it.
    Failed,
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) file: File,
    /// Its FileHash, if the upstream states one: files with equal ones are one file.
    pub(super) identity: Option<Hash>,
    /// Its size in bytes, if that is known.
    pub(super) size: Option<u64>,
    /// How many files of the flight had turned out wrong when this one began.
    pub(super) wrong: u32,
}

/// Whether a client that has seen a part of one file may be given the rest of the other: if they should be the same, and the
/// first has not turned out to be something else.
pub(super) fn goes_on(before: &Arc<Body>, now: &Arc<Body>) -> bool {
    let same = before.identity.is_some() && before.identity == now.identity;
    Arc::ptr_eq(before, now) || (same && before.wrong == now.wrong)
}

/// How many bytes of a growing file may be seen.
pub(super) fn visible(expected: &Expected, grown: &Grown) -> u64 {
    if let Some(digest) = grown.digest {
        let right_size = expected.file_size.is_none_or(|size| size == grown.bytes);
        if right_size && expected.file_hash == Some(digest) {
            return grown.bytes;
        }
    }
    // Small: what is not known to be longer, too.
    let size = expected.file_size.or(grown.announced).unwrap_or(grown.bytes);
    if size <= CHECKED_FIRST { 0 } else { grown.bytes.saturating_sub(HELD_BACK) }
}

#[cfg(test)]
mod tests {
    use granary_nix::Compression;

    use super::*;

    const LARGE: u64 = 10 << 20;

    fn expected(file_hash: Option<Hash>, file_size: Option<u64>) -> Expected {
        Expected {
            compression: Compression::Xz,
            file_hash,
            file_size,
            nar_hash: Hash::of(b"nar"),
            nar_size: LARGE,
            content: None,
        }
    }

    fn grown(bytes: u64, digest: Option<Hash>) -> Grown {
        Grown { bytes, digest, ..Grown::default() }
    }

    #[test]
    fn the_end_is_held_back_until_the_hash_is_known() {
        let right = Hash::of(b"file");
        let known = expected(Some(right), Some(LARGE));
        assert_eq!(visible(&known, &grown(0, None)), 0);
        assert_eq!(visible(&known, &grown(2 << 20, None)), (2 << 20) - HELD_BACK);
        assert_eq!(visible(&known, &grown(LARGE, None)), LARGE - HELD_BACK);
        assert_eq!(visible(&known, &grown(LARGE, Some(Hash::of(b"other")))), LARGE - HELD_BACK);
        assert_eq!(visible(&known, &grown(LARGE, Some(right))), LARGE);
        assert_eq!(visible(&known, &grown(LARGE - 1, Some(right))), LARGE - 1 - HELD_BACK, "of another size");
        let unknown = expected(None, Some(LARGE));
        assert_eq!(visible(&unknown, &grown(LARGE, Some(right))), LARGE - HELD_BACK, "the NarHash decides");
    }

    #[test]
    fn a_small_file_is_shown_whole() {
        let right = Hash::of(b"file");
        let known = expected(Some(right), Some(1 << 20));
        assert_eq!(visible(&known, &grown(1 << 20, None)), 0);
        assert_eq!(visible(&known, &grown(1 << 20, Some(right))), 1 << 20);
        let nothing = expected(None, None);
        assert_eq!(visible(&nothing, &grown(500_000, None)), 0, "as long as it may be small");
        assert_eq!(visible(&nothing, &grown(2 << 20, None)), (2 << 20) - HELD_BACK);
        let announced = Grown { announced: Some(LARGE), ..grown(500_000, None) };
        assert_eq!(visible(&nothing, &announced), 500_000 - HELD_BACK);
    }

    #[test]
    fn only_files_with_one_hash_go_on_in_each_other() {
        let body = |identity, wrong| {
            Arc::new(Body { file: tempfile::tempfile().unwrap(), identity, size: None, wrong })
        };
        let (a, b) = (Some(Hash::of(b"a")), Some(Hash::of(b"b")));
        let (some, none) = (body(a, 0), body(None, 0));
        assert!(goes_on(&some, &some) && goes_on(&none, &none));
        assert!(goes_on(&some, &body(a, 0)));
        assert!(!goes_on(&some, &body(b, 0)));
        assert!(!goes_on(&none, &body(None, 0)));
        assert!(!goes_on(&some, &body(a, 1)), "what was seen of the first is wrong");
    }
}
