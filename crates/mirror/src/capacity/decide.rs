//! Whether something fits. Pure.

use std::fmt;

/// What a mirror may use of its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Bytes of the filesystem that stay free, whoever uses the rest.
    pub keep_free: u64,
    /// Bytes of NAR files that may be here altogether; `None`: as many as fit.
    pub max_size: Option<u64>,
}

/// How full it is.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    /// Bytes that may still be written to the filesystem; `None` when it does not say.
    pub free: Option<u64>,
    /// Bytes of NAR files that are here.
    pub held: u64,
    /// Bytes that were let in and may not be written yet.
    pub pending: u64,
}

/// Why something is not taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// The disk takes nothing in, whatever room it has.
    #[error(
        "the disk is read-only: what is there is served, and nothing is taken in until it can be written to"
    )]
    ReadOnly,
    /// The filesystem is too full.
    #[error(
        "no space: it needs up to {}, and {} are free, of which {} have to stay free (capacity.keepFree)",
        Bytes(*needed), Bytes(*free), Bytes(*keep_free)
    )]
    Disk {
        /// Its size, at most.
        needed: u64,
        /// What the filesystem has.
        free: u64,
        /// What has to stay free.
        keep_free: u64,
    },
    /// The mirror has as much as it may.
    #[error(
        "no space: it needs up to {}, and {} of at most {} are here (capacity.maxSize)",
        Bytes(*needed), Bytes(*held), Bytes(*max_size)
    )]
    MaxSize {
        /// Its size, at most.
        needed: u64,
        /// What is here.
        held: u64,
        /// What may be here.
        max_size: u64,
    },
}

impl NoRoom {
    /// The size, at most, of what had no room.
    #[must_use]
    pub fn needed(&self) -> u64 {
        match self {
            Self::ReadOnly => 0,
            Self::Disk { needed, .. } | Self::MaxSize { needed, .. } => *needed,
        }
    }
}

/// Whether `bytes` more fit.
pub(super) fn fits(rules: &Rules, space: Space, bytes: u64) -> Result<(), NoRoom> {
    let Rules { keep_free, max_size } = *rules;
    let Space { free, held, pending } = space;
    let needed = pending.saturating_add(bytes);
    if let Some(max_size) = max_size
        && held.saturating_add(needed) > max_size
    {
        return Err(NoRoom::MaxSize { needed: bytes, held, max_size });
    }
    match free {
        Some(free) if needed.saturating_add(keep_free) > free => {
            Err(NoRoom::Disk { needed: bytes, free, keep_free })
        }
        // A filesystem that does not say how full it is says so when it is full.
        _ => Ok(()),
    }
}

/// How many bytes have to leave so that `bytes` more fit, when nothing is under way; 0 when they do.
pub(super) fn shortage(rules: &Rules, space: Space, bytes: u64) -> u64 {
    let Rules { keep_free, max_size } = *rules;
    let Space { free, held, pending: _ } = space;
    let allowed = max_size.map_or(0, |max_size| held.saturating_add(bytes).saturating_sub(max_size));
    let disk = free.map_or(0, |free| bytes.saturating_add(keep_free).saturating_sub(free));
    allowed.max(disk)
}

/// Bytes for people.
struct Bytes(u64);

impl fmt::Display for Bytes {
    #[allow(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} MiB", self.0 as f64 / f64::from(1 << 20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn try_it(free: u64, held: u64, pending: u64, bytes: u64) -> Result<(), NoRoom> {
        fits(&Rules { keep_free: 10, max_size: Some(100) }, Space { free: Some(free), held, pending }, bytes)
    }

    #[test]
    fn everything_that_was_let_in_fits_beside_what_stays_free() {
        assert_eq!(try_it(50, 0, 20, 20), Ok(()));
        assert_eq!(try_it(50, 0, 20, 21), Err(NoRoom::Disk { needed: 21, free: 50, keep_free: 10 }));
        assert_eq!(try_it(5, 0, 0, 0), Err(NoRoom::Disk { needed: 0, free: 5, keep_free: 10 }));
        assert_eq!(try_it(500, 60, 20, 20), Ok(()));
        assert_eq!(try_it(500, 61, 20, 20), Err(NoRoom::MaxSize { needed: 20, held: 61, max_size: 100 }));
        assert!(try_it(500, u64::MAX, u64::MAX, u64::MAX).is_err());
        let unlimited = Rules { keep_free: 10, max_size: None };
        assert_eq!(fits(&unlimited, Space { free: None, held: u64::MAX, pending: 0 }, 9), Ok(()));
    }

    #[test]
    fn what_has_to_leave_is_what_the_narrower_rule_lacks() {
        let rules = Rules { keep_free: 10, max_size: Some(100) };
        let shortage =
            |free, held, bytes| shortage(&rules, Space { free: Some(free), held, pending: 99 }, bytes);
        assert_eq!((shortage(50, 0, 40), shortage(50, 0, 41)), (0, 1), "what is under way ends");
        assert_eq!((shortage(500, 60, 40), shortage(500, 60, 45), shortage(50, 60, 50)), (0, 5, 10));
        assert_eq!(shortage(0, u64::MAX, u64::MAX), u64::MAX);
        let anything = Space { free: None, held: u64::MAX, pending: 0 };
        assert_eq!(super::shortage(&Rules::default(), anything, u64::MAX), 0);
    }

    #[test]
    fn the_reason_says_what_to_change() {
        let text = try_it(5 << 20, 0, 0, 3 << 20).unwrap_err().to_string();
        assert!(text.contains("3.0 MiB") && text.contains("capacity.maxSize"), "{text}");
        let rules = Rules { keep_free: 4 << 20, max_size: None };
        let text = fits(&rules, Space { free: Some(5 << 20), held: 0, pending: 0 }, 3 << 20)
            .unwrap_err()
            .to_string();
        assert!(text.contains("5.0 MiB are free") && text.contains("capacity.keepFree"), "{text}");
    }
}
