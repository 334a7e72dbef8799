//! Names of cache entries: a hash over everything an entry is built from.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

/// Collects what an entry is built from. The order of the calls is part of the key.
pub struct Key(Sha256);

impl Key {
    /// A key for one kind of entry; `recipe` is raised when the way of building changes.
    pub fn new(kind: &str, recipe: u32) -> Self {
        Self(Sha256::new()).text("kind", kind).text("recipe", &recipe.to_string())
    }

    /// Adds a named text, such as a version or a flag.
    pub fn text(mut self, name: &str, value: &str) -> Self {
        for part in [name, value] {
            // The length goes first, so that no two lists of parts read the same.
            self.0.update((part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    /// Adds the content of a file.
    pub fn file(self, path: &Path) -> Result<Self> {
        let content = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(self.text("file", &hex(&Sha256::digest(content))))
    }

    /// The name of the entry: 24 hexadecimal digits.
    pub fn finish(self) -> String {
        let mut name = hex(&self.0.finalize());
        name.truncate(24);
        name
    }
}

/// Lower case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[(&str, &str)]) -> String {
        parts.iter().fold(Key::new("test", 1), |key, (name, value)| key.text(name, value)).finish()
    }

    #[test]
    fn equal_parts_give_equal_keys() {
        assert_eq!(key(&[("a", "b")]), key(&[("a", "b")]));
        assert_eq!(key(&[]).len(), 24);
    }

    #[test]
    fn every_difference_shows() {
        let keys = [
            key(&[("a", "b")]),
            key(&[("ab", "")]),
            key(&[("", "ab")]),
            key(&[("a", "b"), ("c", "d")]),
            key(&[("c", "d"), ("a", "b")]),
            Key::new("test", 2).text("a", "b").finish(),
            Key::new("other", 1).text("a", "b").finish(),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn the_content_of_a_file_counts_and_not_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            Key::new("test", 1).file(&path).unwrap().finish()
        };
        assert_eq!(write("one", "x"), write("two", "x"));
        assert_ne!(write("one", "x"), write("one", "y"));
    }
}
