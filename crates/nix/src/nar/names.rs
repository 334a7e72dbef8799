//! The names of entries: what they may be, and in which order.

use super::{MAX_DEPTH, NarProblem};
use crate::text::excerpt_bytes;

/// The open directories, each with the name of its latest entry.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The names one after the other.
    bytes: Vec<u8>,
    /// Where each name begins.
    starts: Vec<usize>,
}

impl Names {
    /// The name of the node that is being read; empty for the root.
    pub(super) fn current(&self) -> &[u8] {
        &self.bytes[self.starts.last().copied().unwrap_or(0)..]
    }

    /// Whether no directory is open.
    pub(super) const fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// A directory begins.
    pub(super) fn open(&mut self) {
        self.starts.push(self.bytes.len());
    }

    /// The innermost directory ends; the current name is its own again.
    pub(super) fn close(&mut self) {
        if let Some(start) = self.starts.pop() {
            self.bytes.truncate(start);
        }
    }

    /// The next entry of the innermost directory.
    pub(super) fn enter(&mut self, name: &[u8]) -> Result<(), NarProblem> {
        if name.is_empty() {
            return Err(NarProblem::NameEmpty);
        }
        if !is_name(name) {
            return Err(NarProblem::Name { name: excerpt_bytes(name) });
        }
        // The root directory's entries are the second level.
        if self.starts.len() >= MAX_DEPTH {
            return Err(NarProblem::Depth);
        }
        let previous = self.current();
        if name == previous {
            return Err(NarProblem::Duplicate { name: excerpt_bytes(name) });
        }
        if name < previous {
            let previous = excerpt_bytes(previous);
            return Err(NarProblem::Unsorted { name: excerpt_bytes(name), previous });
        }
        self.bytes.truncate(self.starts.last().copied().unwrap_or(0));
        self.bytes.extend_from_slice(name);
        Ok(())
    }
}

/// Whether a directory can have an entry of this name.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_bytes_in_each_directory() {
        let mut names = Names::default();
        names.open();
        for name in [&b"B"[..], b"a", b"a-", b"a.b", b"aa", "é".as_bytes(), b"\xff"] {
            names.enter(name).unwrap();
            assert_eq!(names.current(), name);
        }
        names.open();
        assert_eq!(names.current(), b"");
        names.enter(b"a").unwrap();
        names.close();
        assert_eq!(names.current(), b"\xff");
        assert_eq!(
            names.enter(b"b"),
            Err(NarProblem::Unsorted { name: "b".into(), previous: "\u{fffd}".into() })
        );
        assert_eq!(names.enter(b"\xff"), Err(NarProblem::Duplicate { name: "\u{fffd}".into() }));
        names.close();
        assert!(names.is_empty());
    }
}
