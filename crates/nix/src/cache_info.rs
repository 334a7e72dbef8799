//! `nix-cache-info`: what a cache says about itself.

use std::fmt::Write as _;

use thiserror::Error;

use crate::store_path::STORE_DIR;
use crate::text::excerpt;

/// Longest text that is read, in bytes. Real ones have under 100.
const MAX_TEXT: usize = 64 * 1024;

/// The three standard keys of `nix-cache-info`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheInfo {
    /// The store directory of every path in the cache. A client refuses a cache with another one than its own.
    pub store_dir: String,
    /// Whether a client may ask for many narinfos at once.
    pub want_mass_query: bool,
    /// Lower is asked first. Absent means 0 to Nix 2.8 and later.
    pub priority: Option<i32>,
}

/// Why a text is not a usable `nix-cache-info`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CacheInfoError {
    /// Longer than 64 KiB.
    #[error("the text has {length} bytes; a nix-cache-info has at most {MAX_TEXT}")]
    TooLarge {
        /// Bytes given.
        length: usize,
    },
    /// Not UTF-8.
    #[error("the text is not UTF-8")]
    Utf8,
    /// The priority does not begin with a number.
    #[error("line {line}: Priority {value:?} is not a number")]
    Priority {
        /// Counted from 1.
        line: usize,
        /// The value, shortened.
        value: String,
    },
    /// Another store directory: a different world of store paths.
    #[error("line {line}: StoreDir is {value:?}; only {STORE_DIR} is handled")]
    StoreDir {
        /// Counted from 1.
        line: usize,
        /// The value, shortened.
        value: String,
    },
}

impl Default for CacheInfo {
    /// What an empty text says.
    fn default() -> Self {
        Self { store_dir: STORE_DIR.to_owned(), want_mass_query: false, priority: None }
    }
}

impl CacheInfo {
    /// Reads a text as Nix does: values are trimmed, lines without a colon and unknown keys are ignored, and the last
    /// of several lines with one key counts.
    pub fn parse(text: &[u8]) -> Result<Self, CacheInfoError> {
        if text.len() > MAX_TEXT {
            return Err(CacheInfoError::TooLarge { length: text.len() });
        }
        let text = str::from_utf8(text).map_err(|_| CacheInfoError::Utf8)?;
        let mut info = Self::default();
        for (line, (key, value)) in
            (1..).zip(text.split('\n')).filter_map(|(line, text)| Some((line, text.split_once(':')?)))
        {
            let value = value.trim();
            let shown = || excerpt(value);
            match key {
                "StoreDir" if value != STORE_DIR => {
                    return Err(CacheInfoError::StoreDir { line, value: shown() });
                }
                "WantMassQuery" => info.want_mass_query = value == "1",
                "Priority" => {
                    let priority = leading_number(value);
                    let priority =
                        priority.ok_or_else(|| CacheInfoError::Priority { line, value: shown() })?;
                    info.priority = Some(priority);
                }
                _ => {}
            }
        }
        Ok(info)
    }

    /// The text to serve, with the standard keys only: some clients distrust a cache that has others.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { store_dir, want_mass_query, priority } = self;
        let mut text = format!("StoreDir: {store_dir}\nWantMassQuery: {}\n", u8::from(*want_mass_query));
        if let Some(priority) = priority {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "Priority: {priority}");
        }
        text
    }
}

/// The number at the start, as C++'s `std::stoi` reads it: what follows the digits does not count.
fn leading_number(value: &str) -> Option<i32> {
    let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    value[..value.len() - digits.len() + count].parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_file_of_cache_nixos_org() {
        let info = CacheInfo::parse(b"StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n").unwrap();
        assert_eq!(
            info,
            CacheInfo { store_dir: "/nix/store".into(), want_mass_query: true, priority: Some(40) }
        );
        assert_eq!(info.to_text(), "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n");
    }

    #[test]
    fn read_as_nix_reads_it() {
        assert_eq!(CacheInfo::parse(b""), Ok(CacheInfo::default()));
        let odd = b"no colon\nX-Other: 1\r\nPriority:  30 (fast)\r\nWantMassQuery:1\nStoreDir:/nix/store \n";
        let info = CacheInfo::parse(odd).unwrap();
        assert_eq!((info.priority, info.want_mass_query), (Some(30), true));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let error = |text: &[u8]| CacheInfo::parse(text).unwrap_err().to_string();
        assert_eq!(error(b"\nPriority: high\n"), "line 2: Priority \"high\" is not a number");
        assert_eq!(
            error(b"StoreDir: /gnu/store"),
            "line 1: StoreDir is \"/gnu/store\"; only /nix/store is handled"
        );
        assert_eq!(error(&[0xff]), "the text is not UTF-8");
        assert!(error(&vec![b'a'; MAX_TEXT + 1]).contains("at most 65536"));
    }

    proptest! {
        #[test]
        fn round_trip(want_mass_query: bool, priority: Option<i32>) {
            let info = CacheInfo { want_mass_query, priority, ..CacheInfo::default() };
            prop_assert_eq!(CacheInfo::parse(info.to_text().as_bytes()), Ok(info));
        }

        #[test]
        fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = CacheInfo::parse(&text);
        }
    }
}
