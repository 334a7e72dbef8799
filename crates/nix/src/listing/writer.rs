//! A listing written while its archive is read.

use std::fmt::Write as _;

use serde_json::Value;

use super::{ListingError, MAX_ENTRIES, MAX_TEXT};
use crate::nar::NarEvent;
use crate::text::excerpt_bytes;

/// Writes the listing of an archive from what its reader tells.
///
/// It holds the text and nothing else of the archive. A failure does not disturb the reading: it is told at the end.
#[derive(Debug, Default)]
pub struct ListingWriter {
    text: String,
    entries: usize,
    /// The open directories: whether they have an entry already.
    open: Vec<bool>,
    ended: bool,
    failed: Option<ListingError>,
}

impl ListingWriter {
    /// Takes note of what the reader tells.
    pub fn event(&mut self, event: &NarEvent<'_>) {
        if self.failed.is_some() {
            return;
        }
        if let Err(error) = self.write(event) {
            self.failed = Some(error);
            self.text = String::new();
        }
    }

    /// The listing, when the archive has been read to its end.
    pub fn finish(self) -> Result<String, ListingError> {
        match (self.failed, self.ended) {
            (Some(error), _) => Err(error),
            (None, false) => Err(ListingError::Incomplete),
            (None, true) => Ok(self.text),
        }
    }

    fn write(&mut self, event: &NarEvent<'_>) -> Result<(), ListingError> {
        match event {
            NarEvent::Directory { name } => {
                self.begin(name)?;
                self.text.push_str(r#"{"type":"directory","entries":{"#);
                self.open.push(false);
            }
            NarEvent::EndDirectory => {
                self.text.push_str("}}");
                self.open.pop();
            }
            NarEvent::File { name, executable, size, offset } => {
                self.begin(name)?;
                let executable = if *executable { r#""executable":true,"# } else { "" };
                // Writing to a string cannot fail.
                let _ = write!(
                    self.text,
                    r#"{{"type":"regular","size":{size},{executable}"narOffset":{offset}}}"#
                );
            }
            NarEvent::Contents(_) => {}
            NarEvent::Symlink { name, target } => {
                self.begin(name)?;
                let target = quoted(target)?;
                let _ = write!(self.text, r#"{{"type":"symlink","target":{target}}}"#);
            }
            NarEvent::End => {
                self.text.push('}');
                self.ended = true;
            }
        }
        if self.text.len() > MAX_TEXT { Err(ListingError::TooLarge) } else { Ok(()) }
    }

    /// What stands before a node.
    fn begin(&mut self, name: &[u8]) -> Result<(), ListingError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(ListingError::Entries);
        }
        let Some(has_entries) = self.open.last_mut() else {
            self.text.push_str(r#"{"version":1,"root":"#);
            return Ok(());
        };
        if std::mem::replace(has_entries, true) {
            self.text.push(',');
        }
        self.text.push_str(&quoted(name)?);
        self.text.push(':');
        Ok(())
    }
}

/// The JSON string of a name or a target.
fn quoted(name: &[u8]) -> Result<String, ListingError> {
    let text = str::from_utf8(name).map_err(|_| ListingError::Utf8 { name: excerpt_bytes(name) })?;
    Ok(Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listing::{Listing, Node};
    use crate::nar::writer::{Tree, tree};
    use crate::nar::{MAX_DEPTH, NarReader};

    fn listing(tree: &Tree) -> Result<String, ListingError> {
        let (nar, mut writer) = (tree.to_nar(), ListingWriter::default());
        let mut reader = NarReader::new(nar.len() as u64);
        reader.push(&nar, &mut |event| writer.event(&event)).unwrap();
        reader.finish().unwrap();
        writer.finish()
    }

    #[test]
    fn the_text_that_nix_2_8_writes() {
        let tree = Tree::directory([
            ("a \"é\"\n", Tree::file(b"12345")),
            ("bin", Tree::directory([("run", Tree::File { executable: true, contents: b"#!".to_vec() })])),
            ("empty", Tree::directory([])),
            ("link", Tree::Symlink(b"bin/run".to_vec())),
        ]);
        assert_eq!(
            listing(&tree).unwrap(),
            concat!(
                r#"{"version":1,"root":{"type":"directory","entries":{"#,
                r#""a \"é\"\n":{"type":"regular","size":5,"narOffset":232},"#,
                r#""bin":{"type":"directory","entries":{"#,
                r#""run":{"type":"regular","size":2,"executable":true,"narOffset":592}}},"#,
                r#""empty":{"type":"directory","entries":{}},"#,
                r#""link":{"type":"symlink","target":"bin/run"}}}}"#
            )
        );
        assert_eq!(
            listing(&Tree::file(b"")).unwrap(),
            r#"{"version":1,"root":{"type":"regular","size":0,"narOffset":96}}"#
        );
    }

    #[test]
    fn what_json_cannot_carry_has_no_listing() {
        let tree = Tree::Directory([(b"a\xff".to_vec(), Tree::file(b""))].into());
        assert_eq!(listing(&tree), Err(ListingError::Utf8 { name: "a\u{fffd}".into() }));
        assert_eq!(listing(&Tree::Symlink(vec![0xc3])), Err(ListingError::Utf8 { name: "\u{fffd}".into() }));
    }

    #[test]
    fn entries_are_bounded_and_an_end_is_needed() {
        let mut writer = ListingWriter::default();
        writer.event(&NarEvent::Directory { name: b"" });
        for _ in 1..MAX_ENTRIES {
            writer.event(&NarEvent::Symlink { name: b"a", target: b"b" });
        }
        assert_eq!(writer.failed, None);
        writer.event(&NarEvent::Symlink { name: b"a", target: b"b" });
        assert_eq!(writer.finish(), Err(ListingError::Entries));

        let mut writer = ListingWriter::default();
        assert_eq!(ListingWriter::default().finish(), Err(ListingError::Incomplete));
        writer.event(&NarEvent::Directory { name: b"" });
        assert_eq!(writer.finish(), Err(ListingError::Incomplete));
    }

    #[test]
    fn the_text_is_bounded() {
        let mut writer = ListingWriter::default();
        writer.event(&NarEvent::Directory { name: b"" });
        // Six characters in JSON for each byte.
        let target = [1; 4095];
        for _ in 0..=MAX_TEXT / (6 * target.len()) {
            writer.event(&NarEvent::Symlink { name: b"a", target: &target });
        }
        assert_eq!(writer.finish(), Err(ListingError::TooLarge));
    }

    #[test]
    fn the_deepest_archive_has_a_listing_that_can_be_read() {
        let nest = (1..MAX_DEPTH).fold(Tree::directory([]), |tree, _| Tree::directory([("d", tree)]));
        let mut node = Listing::parse(listing(&nest).unwrap().as_bytes()).unwrap().root;
        let mut levels = 1;
        while let Node::Directory { mut entries } = node {
            let Some(entry) = entries.remove("d") else { break };
            (levels, node) = (levels + 1, entry);
        }
        assert_eq!(levels, MAX_DEPTH);
    }

    /// What the listing of a tree says, without its offsets.
    fn expected(tree: &Tree) -> Option<Node> {
        let text = |bytes: &[u8]| Some(str::from_utf8(bytes).ok()?.to_owned());
        Some(match tree {
            Tree::Directory(entries) => {
                let entry = |(name, tree): (&Vec<u8>, &Tree)| Some((text(name)?, expected(tree)?));
                Node::Directory { entries: entries.iter().map(entry).collect::<Option<_>>()? }
            }
            Tree::File { executable, contents } => {
                Node::File { size: contents.len() as u64, executable: *executable, nar_offset: None }
            }
            Tree::Symlink(target) => Node::Symlink { target: text(target)? },
        })
    }

    /// Checks that the offsets lead to the contents, and removes them.
    fn without_offsets(node: &mut Node, tree: &Tree, nar: &[u8]) {
        match (node, tree) {
            (Node::Directory { entries }, Tree::Directory(trees)) => {
                for (entry, tree) in entries.values_mut().zip(trees.values()) {
                    without_offsets(entry, tree, nar);
                }
            }
            (Node::File { nar_offset, .. }, Tree::File { contents, .. }) => {
                let offset = usize::try_from(nar_offset.take().unwrap()).unwrap();
                assert_eq!(&nar[offset..offset + contents.len()], contents);
            }
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn any_tree(tree in tree()) {
            match (listing(&tree), expected(&tree)) {
                (Ok(text), Some(expected)) => {
                    let mut read = Listing::parse(text.as_bytes()).unwrap().root;
                    without_offsets(&mut read, &tree, &tree.to_nar());
                    prop_assert_eq!(read, expected);
                }
                (Err(ListingError::Utf8 { .. }), None) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
