//! Store paths: `/nix/store/<hash part>-<name>`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::hash_part::{HashPart, HashPartError};
use crate::text::{excerpt, serde_as_string};

/// The store directory. A store path's hash part depends on it, so another one is another, disjoint world of
/// artifacts; public caches and everything here use this one.
pub const STORE_DIR: &str = "/nix/store";

/// Longest name in bytes, as in Nix: leaves room for `.drv`, `.lock` and the hash part in 255 bytes.
const MAX_NAME: usize = 211;

/// A valid store path. Cheap to clone; ordered as its text is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(Arc<str>);

/// Why a text is not a store path.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StorePathError {
    /// Not directly below the store directory.
    #[error("{path:?} is not in {STORE_DIR}")]
    OutsideStore {
        /// The text, shortened.
        path: String,
    },
    /// The base name has no dash after 32 characters.
    #[error("{base:?} is not of the form <hash part>-<name>")]
    Form {
        /// The base name, shortened.
        base: String,
    },
    /// The hash part is malformed.
    #[error("{base:?}: {error}")]
    HashPart {
        /// The base name, shortened.
        base: String,
        /// What is wrong with its hash part.
        error: HashPartError,
    },
    /// The name is empty, or longer than 211 bytes.
    #[error("{base:?}: the name has {length} bytes; 1 to {MAX_NAME} are allowed")]
    NameLength {
        /// The base name, shortened.
        base: String,
        /// Bytes of the name.
        length: usize,
    },
    /// The name has a character other than letters, digits and `+-._?=`.
    #[error("{base:?}: character {character:?} is not allowed in a name")]
    NameCharacter {
        /// The base name, shortened.
        base: String,
        /// The first such character.
        character: char,
    },
    /// The name is `.` or `..`, or begins with `.-` or `..-`.
    #[error("{base:?}: a name cannot be a dot or two dots, alone or before a dash")]
    NameDots {
        /// The base name, shortened.
        base: String,
    },
}

impl StorePath {
    /// Parses a full path, `/nix/store/<hash part>-<name>`.
    pub fn parse(path: &str) -> Result<Self, StorePathError> {
        Self::parse_base_name(base_of(path)?)
    }

    /// Parses what stands after `/nix/store/`, as narinfos write references and derivers.
    pub fn parse_base_name(base: &str) -> Result<Self, StorePathError> {
        check_base_name(base)?;
        Ok(Self(base.into()))
    }

    /// Makes a path of a base name that [`check_base_name`] has passed.
    pub(crate) fn of_checked(base: &str) -> Self {
        Self(base.into())
    }

    /// The 32 characters by which caches look it up.
    #[must_use]
    pub fn hash_part(&self) -> HashPart {
        HashPart::of_checked(&self.0)
    }

    /// What stands after the hash part and its dash.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0[HashPart::LENGTH + 1..]
    }

    /// What stands after `/nix/store/`.
    #[must_use]
    pub fn base_name(&self) -> &str {
        &self.0
    }
}

/// The base name of a full path, not yet checked.
pub(crate) fn base_of(path: &str) -> Result<&str, StorePathError> {
    path.strip_prefix(STORE_DIR)
        .and_then(|rest| rest.strip_prefix('/'))
        .ok_or_else(|| StorePathError::OutsideStore { path: excerpt(path) })
}

/// Checks `<hash part>-<name>` by Nix's rules.
pub(crate) fn check_base_name(base: &str) -> Result<(), StorePathError> {
    let shown = || excerpt(base);
    let (part, name) = base
        .split_at_checked(HashPart::LENGTH)
        .and_then(|(part, rest)| Some((part, rest.strip_prefix('-')?)))
        .ok_or_else(|| StorePathError::Form { base: shown() })?;
    part.parse::<HashPart>().map_err(|error| StorePathError::HashPart { base: shown(), error })?;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(StorePathError::NameLength { base: shown(), length: name.len() });
    }
    if let Some(character) = name.chars().find(|&c| !c.is_ascii_alphanumeric() && !"+-._?=".contains(c)) {
        return Err(StorePathError::NameCharacter { base: shown(), character });
    }
    if matches!(name.split('-').next(), Some("." | "..")) {
        return Err(StorePathError::NameDots { base: shown() });
    }
    Ok(())
}

impl FromStr for StorePath {
    type Err = StorePathError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE_DIR}/{}", self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StorePath({})", self.0)
    }
}

serde_as_string!(StorePath);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASE: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432";

    fn with_name(name: &str) -> Result<StorePath, StorePathError> {
        StorePath::parse_base_name(&format!("00bgd045z0d4icpbc2yyz4gx48ak44la-{name}"))
    }

    #[test]
    fn parts_of_a_path() {
        let path = StorePath::parse(&format!("/nix/store/{BASE}")).unwrap();
        assert_eq!(path.hash_part().to_string(), "00bgd045z0d4icpbc2yyz4gx48ak44la");
        assert_eq!(path.name(), "net-tools-1.60_p20170221182432");
        assert_eq!(path.base_name(), BASE);
        assert_eq!(path.to_string(), format!("/nix/store/{BASE}"));
        assert_eq!(StorePath::parse_base_name(BASE).unwrap(), path);
    }

    #[test]
    fn only_the_store_directory_itself() {
        for path in [BASE, &format!("/nix/store{BASE}"), &format!("/gnu/store/{BASE}"), "/nix/store", ""] {
            assert!(matches!(StorePath::parse(path), Err(StorePathError::OutsideStore { .. })), "{path}");
        }
        for path in [format!("/nix/store/{BASE}/bin"), format!("/nix/store//{BASE}")] {
            assert!(StorePath::parse(&path).is_err(), "{path}");
        }
    }

    #[test]
    fn names_follow_the_rules_of_nix() {
        for name in ["a", "a+-._?=Z9", ".config", "..a", ".a-b", &"n".repeat(211)] {
            assert!(with_name(name).is_ok(), "{name}");
        }
        assert!(matches!(with_name(""), Err(StorePathError::NameLength { length: 0, .. })));
        assert!(matches!(with_name(&"n".repeat(212)), Err(StorePathError::NameLength { length: 212, .. })));
        for name in ["a b", "a/b", "a\0", "ä", "a\n"] {
            assert!(matches!(with_name(name), Err(StorePathError::NameCharacter { .. })), "{name:?}");
        }
        for name in [".", "..", ".-a", "..-a"] {
            assert!(matches!(with_name(name), Err(StorePathError::NameDots { .. })), "{name}");
        }
        let form = StorePath::parse_base_name("00bgd045z0d4icpbc2yyz4gx48ak44la");
        assert!(matches!(form, Err(StorePathError::Form { .. })));
    }

    proptest! {
        #[test]
        fn never_panics_and_round_trips(text in "\\PC{0,60}") {
            if let Ok(path) = StorePath::parse_base_name(&text) {
                prop_assert_eq!(StorePath::parse(&path.to_string()).unwrap(), path);
            }
        }

        #[test]
        fn ordered_as_text(a in "[0-9a-d]{32}-[a-z]{1,3}", b in "[0-9a-d]{32}-[a-z]{1,3}") {
            let paths = [&a, &b].map(|base| StorePath::parse_base_name(base).unwrap());
            prop_assert_eq!(paths[0].cmp(&paths[1]), paths[0].to_string().cmp(&paths[1].to_string()));
        }
    }
}
