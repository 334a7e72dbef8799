//! What a listing says on the whole, read without keeping it.

mod size;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::{ListingError, MAX_ENTRIES, MAX_TEXT};
use crate::extras::BuildId;
use crate::nar::{MAX_TARGET, is_name};
use crate::text::excerpt;
use size::Count;

/// What a listing says on the whole. Reading it needs no more memory for a large listing than for a small one, apart from
/// the build ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// Bytes of the archive that the listing describes: there is one archive for a tree, so its size follows from names,
    /// sizes and targets. A listing of another archive hardly ever comes to the same.
    pub nar_size: u64,
    /// Files, directories and symlinks.
    pub entries: usize,
    /// Build ids of which there is debug information in `lib/debug/.build-id`.
    pub build_ids: Vec<BuildId>,
}

impl Outline {
    /// Reads a listing's text. Fields that are not known are ignored.
    pub fn parse(text: &[u8]) -> Result<Self, ListingError> {
        if text.len() > MAX_TEXT {
            return Err(ListingError::TooLarge);
        }
        let json = |error: serde_json::Error| ListingError::Json { problem: error.to_string() };
        let mut outline = Self::default();
        let mut reader = serde_json::Deserializer::from_slice(text);
        let node_size = Document(&mut outline).deserialize(&mut reader).map_err(json)?;
        reader.end().map_err(json)?;
        let count = Count(size::MAGIC).and(node_size);
        outline.nar_size = count.map_err(|error| ListingError::Json { problem: error.to_string() })?.0;
        Ok(outline)
    }
}

/// The whole document; gives the size of its root.
struct Document<'o>(&'o mut Outline);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a listing")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let (mut version, mut root) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "version" => version = Some(map.next_value::<u64>()?),
                "root" if root.is_none() => {
                    let node = Node { outline: self.0, place: Place::Root };
                    root = Some(map.next_value_seed(node)?.size);
                }
                "root" => return Err(A::Error::duplicate_field("root")),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match version {
            Some(1) => root.ok_or_else(|| A::Error::missing_field("root")),
            Some(version) => Err(A::Error::custom(ListingError::Version { version })),
            None => Err(A::Error::missing_field("version")),
        }
    }
}

/// Where in the artifact a node is, as far as debug information is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Root,
    Lib,
    LibDebug,
    BuildIds,
    /// A directory of them, with its two digits.
    Digits(String),
    /// A file that has the name of one.
    Of(BuildId),
    Elsewhere,
}

impl Place {
    fn enter(&self, name: &str) -> Self {
        match (self, name) {
            (Self::Root, "lib") => Self::Lib,
            (Self::Lib, "debug") => Self::LibDebug,
            (Self::LibDebug, ".build-id") => Self::BuildIds,
            (Self::BuildIds, digits) if digits.len() == 2 => Self::Digits(digits.to_owned()),
            (Self::Digits(digits), file) => {
                BuildId::of_member(digits, file).map_or(Self::Elsewhere, Self::Of)
            }
            _ => Self::Elsewhere,
        }
    }
}

/// What a node comes to.
struct Summary {
    size: u64,
    is_file: bool,
}

struct Node<'o> {
    outline: &'o mut Outline,
    place: Place,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Summary;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Summary, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Summary;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file, a directory or a symlink")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Summary, A::Error> {
        let Self { outline, place } = self;
        outline.entries += 1;
        if outline.entries > MAX_ENTRIES {
            return Err(A::Error::custom(ListingError::Entries));
        }
        let (mut kind, mut size, mut executable) = (None, None, false);
        let (mut target, mut entries) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "type" => kind = Some(map.next_value::<String>()?),
                "size" => size = map.next_value::<Option<u64>>()?,
                "executable" => executable = map.next_value::<Option<bool>>()?.unwrap_or(false),
                "target" => target = map.next_value::<Option<String>>()?,
                "entries" if entries.is_none() => {
                    let inner = Entries { outline: &mut *outline, place: &place };
                    entries = Some(map.next_value_seed(inner)?);
                }
                "entries" => return Err(A::Error::duplicate_field("entries")),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let kind = kind.ok_or_else(|| A::Error::missing_field("type"))?;
        let size = match (kind.as_str(), size, target, entries) {
            ("directory", None, None, Some(entries)) => Count(size::DIRECTORY).and(entries),
            ("regular", Some(size), None, None) => size::file(size, executable),
            ("symlink", None, Some(target), None) if (1..=MAX_TARGET).contains(&target.len()) => {
                Count(size::SYMLINK).token(target.len() as u64)
            }
            (kind, ..) => {
                let problem = format!(
                    "a node of type {:?} has what it cannot have, or lacks what it must",
                    excerpt(kind)
                );
                return Err(A::Error::custom(problem));
            }
        };
        Ok(Summary { size: size.map_err(A::Error::custom)?.0, is_file: kind == "regular" })
    }
}

/// The entries of a directory; gives what they add to its size.
struct Entries<'o, 'p> {
    outline: &'o mut Outline,
    place: &'p Place,
}

impl<'de> DeserializeSeed<'de> for Entries<'_, '_> {
    type Value = u64;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u64, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_, '_> {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the entries of a directory")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u64, A::Error> {
        let mut total = Count(0);
        while let Some(name) = map.next_key::<String>()? {
            if !is_name(name.as_bytes()) {
                return Err(A::Error::custom(ListingError::Name { name: excerpt(&name) }));
            }
            let place = self.place.enter(&name);
            let build_id = if let Place::Of(id) = place { Some(id) } else { None };
            let Summary { size, is_file } =
                map.next_value_seed(Node { outline: &mut *self.outline, place })?;
            self.outline.build_ids.extend(build_id.filter(|_| is_file));
            total = total
                .and(size::ENTRY)
                .and_then(|total| total.token(name.len() as u64))
                .and_then(|total| total.and(size))
                .map_err(A::Error::custom)?;
        }
        Ok(total.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::listing::ListingWriter;
    use crate::nar::NarReader;
    use crate::nar::writer::{Tree, tree};

    const DIGITS: &str = "a4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c";

    fn listing(tree: &Tree) -> Result<String, ListingError> {
        let (nar, mut writer) = (tree.to_nar(), ListingWriter::default());
        let mut reader = NarReader::new(nar.len() as u64);
        reader.push(&nar, &mut |event| writer.event(&event)).unwrap();
        writer.finish()
    }

    fn error(root: &str) -> String {
        let text = format!(r#"{{"version":1,"root":{root}}}"#);
        Outline::parse(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn debug_information_is_found_where_it_belongs() {
        let debug = |digits: &'static str, files: Vec<(&'static str, Tree)>| {
            let inner = Tree::directory([(digits, Tree::directory(files))]);
            Tree::directory([("lib", Tree::directory([("debug", Tree::directory([(".build-id", inner)]))]))])
        };
        let name: &'static str = Box::leak(format!("{DIGITS}.debug").into_boxed_str());
        let found = |tree: &Tree| Outline::parse(listing(tree).unwrap().as_bytes()).unwrap().build_ids;
        let id: BuildId = format!("3d{DIGITS}").parse().unwrap();
        let file = || Tree::file(b"elf");
        assert_eq!(found(&debug("3d", vec![(name, file()), ("other.debug", file())])), [id]);
        assert_eq!(found(&debug("3D", vec![(name, file())])), []);
        assert_eq!(found(&debug("3d", vec![(name, Tree::Symlink(b"x".to_vec()))])), [], "only files");
        assert_eq!(found(&Tree::directory([("3d", Tree::directory([(name, file())]))])), []);
    }

    #[test]
    fn fields_come_in_any_order() {
        let text = r#"{"root":{"entries":{"a":{"x":[{}],"target":"b","type":"symlink"},
            "b":{"size":9,"executable":true,"type":"regular","narOffset":1}},"type":"directory"},"version":1}"#;
        let tree = Tree::directory([
            ("a", Tree::Symlink(b"b".to_vec())),
            ("b", Tree::File { executable: true, contents: vec![0; 9] }),
        ]);
        let outline = Outline::parse(text.as_bytes()).unwrap();
        assert_eq!((outline.nar_size, outline.entries), (tree.to_nar().len() as u64, 3));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for root in [
            r#"{"type":"regular"}"#,
            r#"{"type":"socket"}"#,
            r#"{"type":"symlink","target":""}"#,
            r#"{"type":"regular","size":1,"entries":{}}"#,
            r#"{"type":"directory"}"#,
        ] {
            assert!(error(root).contains("a node of type"), "{root}: {}", error(root));
        }
        for name in ["", ".", "..", "a/b", "\\u0000"] {
            let root =
                format!(r#"{{"type":"directory","entries":{{"{name}":{{"type":"symlink","target":"x"}}}}}}"#);
            assert!(error(&root).contains("is no name of an entry"), "{name}");
        }
        assert!(error(r#"{"type":"regular","size":18446744073709551615}"#).contains("more bytes"));
        let twice = r#"{"type":"directory","entries":{},"entries":{}}"#;
        assert!(error(twice).contains("duplicate field"));
        assert!(error(&r#"{"type":"directory","entries":{"d":"#.repeat(10_000)).contains("recursion limit"));
        assert!(error(r#"{"type":"regular","size":1}}x"#).contains("trailing"));
        let other = Outline::parse(br#"{"version":2,"root":{"type":"regular","size":1}}"#).unwrap_err();
        assert!(other.to_string().contains("version 2"), "{other}");
        assert_eq!(Outline::parse(&vec![b' '; MAX_TEXT + 1]), Err(ListingError::TooLarge));
    }

    proptest! {
        #[test]
        fn the_size_is_that_of_the_archive(tree in tree()) {
            if let Ok(text) = listing(&tree) {
                let outline = Outline::parse(text.as_bytes()).unwrap();
                prop_assert_eq!(outline.nar_size, tree.to_nar().len() as u64);
            }
        }

        #[test]
        fn never_panics(text in r#"\{"version":1,"root":\{"(type|size)":"?(regular|directory|[0-9]{1,20})"?,?\PC{0,40}"#) {
            let _ = Outline::parse(text.as_bytes());
        }
    }
}
