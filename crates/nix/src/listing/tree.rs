//! A listing that was read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ListingError, MAX_TEXT};
use crate::nar;
use crate::text::excerpt;

/// What stands in an artifact, as a `.ls` file says it. It is not signed: only the artifact can tell whether it is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// The artifact itself.
    pub root: Node,
}

/// A file, a directory or a symlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory.
    Directory {
        /// Its entries by name.
        entries: BTreeMap<String, Node>,
    },
    /// A regular file.
    File {
        /// Bytes of its contents.
        size: u64,
        /// Whether it may be executed.
        executable: bool,
        /// Bytes of the archive before its contents, when the writer knew.
        nar_offset: Option<u64>,
    },
    /// A symlink.
    Symlink {
        /// Where it leads.
        target: String,
    },
}

#[derive(Deserialize)]
struct RawListing {
    version: u64,
    root: RawNode,
}

/// All fields of all types, so that a node is read in one pass, whatever order they come in.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawNode {
    #[serde(rename = "type")]
    kind: String,
    size: Option<u64>,
    executable: Option<bool>,
    nar_offset: Option<u64>,
    target: Option<String>,
    entries: Option<BTreeMap<String, RawNode>>,
}

impl Listing {
    /// Reads a text. Fields that are not known are ignored; of a directory's entries with one name, the last counts.
    pub fn parse(text: &[u8]) -> Result<Self, ListingError> {
        if text.len() > MAX_TEXT {
            return Err(ListingError::TooLarge);
        }
        let RawListing { version, root } = serde_json::from_slice(text)
            .map_err(|error| ListingError::Json { problem: error.to_string() })?;
        if version != 1 {
            return Err(ListingError::Version { version });
        }
        Ok(Self { root: root.node("")? })
    }

    /// Where the two say different things: the path of the first such node, empty for the root. Offsets that only one of
    /// them states are not compared.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        self.root.difference(&other.root).map(|mut names| {
            names.reverse();
            names.join("/")
        })
    }
}

impl Node {
    /// The names of the first node that differs, the innermost first.
    fn difference(&self, other: &Self) -> Option<Vec<String>> {
        match (self, other) {
            (Self::Directory { entries: own }, Self::Directory { entries: others }) => {
                let differs = |(name, node): (&String, &Self)| {
                    let mut names =
                        others.get(name).map_or(Some(Vec::new()), |other| node.difference(other))?;
                    names.push(name.clone());
                    Some(names)
                };
                let more = || others.keys().find(|name| !own.contains_key(*name));
                own.iter().find_map(differs).or_else(|| more().map(|name| vec![name.clone()]))
            }
            (
                Self::File { size, executable, nar_offset },
                Self::File { size: other_size, executable: other_executable, nar_offset: other_offset },
            ) => {
                let moved = nar_offset.zip(*other_offset).is_some_and(|(own, other)| own != other);
                let differs = size != other_size || executable != other_executable || moved;
                differs.then(Vec::new)
            }
            _ => (self != other).then(Vec::new),
        }
    }
}

impl RawNode {
    fn node(self, name: &str) -> Result<Node, ListingError> {
        let Self { kind, size, executable, nar_offset, target, entries } = self;
        let lacks = |field| ListingError::Field { name: excerpt(name), kind: excerpt(&kind), field };
        Ok(match kind.as_str() {
            "directory" => {
                let entry = |(name, node): (String, Self)| {
                    if !nar::is_name(name.as_bytes()) {
                        return Err(ListingError::Name { name: excerpt(&name) });
                    }
                    let node = node.node(&name)?;
                    Ok((name, node))
                };
                let entries = entries.ok_or_else(|| lacks("entries"))?;
                Node::Directory { entries: entries.into_iter().map(entry).collect::<Result<_, _>>()? }
            }
            "regular" => Node::File {
                size: size.ok_or_else(|| lacks("size"))?,
                executable: executable.unwrap_or(false),
                nar_offset,
            },
            "symlink" => Node::Symlink { target: target.ok_or_else(|| lacks("target"))? },
            _ => return Err(ListingError::Kind { name: excerpt(name), kind: excerpt(&kind) }),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn any_order_of_fields_and_newer_ones() {
        let text = r#"{"root":{"entries":{"a":{"executable":false,"narOffset":96,"size":1,"type":"regular","x":{}}},
            "type":"directory"},"version":1}"#;
        let file = Node::File { size: 1, executable: false, nar_offset: Some(96) };
        let root = Node::Directory { entries: [("a".to_owned(), file)].into() };
        assert_eq!(Listing::parse(text.as_bytes()), Ok(Listing { root }));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |root: &str| {
            let text = format!(r#"{{"version":1,"root":{root}}}"#);
            Listing::parse(text.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(error(r#"{"type":"regular"}"#), r#""" is of type "regular" and has no size"#);
        assert_eq!(error(r#"{"type":"symlink"}"#), r#""" is of type "symlink" and has no target"#);
        assert_eq!(error(r#"{"type":"directory"}"#), r#""" is of type "directory" and has no entries"#);
        assert_eq!(error(r#"{"type":"socket"}"#), r#""" is of the unknown type "socket""#);
        for name in ["", ".", "..", "a/b", "\\u0000"] {
            let root =
                format!(r#"{{"type":"directory","entries":{{"{name}":{{"type":"symlink","target":"x"}}}}}}"#);
            assert!(error(&root).ends_with("is no name of an entry"), "{name}");
        }
        assert_eq!(
            Listing::parse(br#"{"version":2,"root":{"type":"regular"}}"#),
            Err(ListingError::Version { version: 2 })
        );
        let deep = r#"{"type":"directory","entries":{"d":"#.repeat(10_000);
        assert!(error(&deep).contains("recursion limit"));
        assert_eq!(Listing::parse(&vec![b' '; MAX_TEXT + 1]), Err(ListingError::TooLarge));
    }

    #[test]
    fn a_difference_is_named_by_its_path() {
        let listing = |inner: &str| {
            let text = format!(
                r#"{{"version":1,"root":{{"type":"directory","entries":{{"bin":{{"type":"directory","entries":{{{inner}}}}}}}}}}}"#
            );
            Listing::parse(text.as_bytes()).unwrap()
        };
        let file = |fields: &str| format!(r#""a":{{"type":"regular",{fields}}}"#);
        let own = listing(&file(r#""size":1,"narOffset":96"#));
        assert_eq!(own.difference(&own), None);
        assert_eq!(own.difference(&listing(&file(r#""size":1"#))), None, "an offset may be left out");
        for other in [
            file(r#""size":2"#),
            file(r#""size":1,"executable":true"#),
            file(r#""size":1,"narOffset":97"#),
            r#""a":{"type":"symlink","target":"b"}"#.to_owned(),
            String::new(),
        ] {
            assert_eq!(own.difference(&listing(&other)).as_deref(), Some("bin/a"), "{other}");
            assert_eq!(listing(&other).difference(&own).as_deref(), Some("bin/a"), "{other}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"\{"version":1,"root":\{"(type|size)":"?(regular|directory|[0-9]{1,20})"?,?\PC{0,40}"#) {
            let _ = Listing::parse(text.as_bytes());
        }
    }
}
