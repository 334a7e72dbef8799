//! The compressions of NAR files.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::text::{excerpt, serde_as_string};

/// A compression that some version of Nix can name in a narinfo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// The NAR itself.
    None,
    /// `xz`, what cache.nixos.org holds.
    Xz,
    /// `bzip2`, also what a narinfo without a compression means.
    Bzip2,
    /// `gzip`.
    Gzip,
    /// `zstd`, from Nix 2.4 on.
    Zstd,
    /// `br`.
    Brotli,
    /// `compress` (LZW).
    Compress,
    /// `grzip`.
    Grzip,
    /// `lrzip`.
    Lrzip,
    /// `lz4`.
    Lz4,
    /// `lzip`.
    Lzip,
    /// `lzma`.
    Lzma,
    /// `lzop`.
    Lzop,
}

/// A compression that no version of Nix knows. Publishing it would make Nix 2.34 abort.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("compression {name:?} is not known to Nix")]
pub struct UnknownCompression {
    /// The name, shortened.
    pub name: String,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::Xz,
        Self::Bzip2,
        Self::Gzip,
        Self::Zstd,
        Self::Brotli,
        Self::Compress,
        Self::Grzip,
        Self::Lrzip,
        Self::Lz4,
        Self::Lzip,
        Self::Lzma,
        Self::Lzop,
    ];

    /// The name in a narinfo.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Compress => "compress",
            Self::Grzip => "grzip",
            Self::Lrzip => "lrzip",
            Self::Lz4 => "lz4",
            Self::Lzip => "lzip",
            Self::Lzma => "lzma",
            Self::Lzop => "lzop",
        }
    }

    /// What Nix writes after `.nar` in the name of a NAR file: a dot and an ending, or nothing (also for gzip).
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Bzip2 => ".bz2",
            Self::Zstd => ".zst",
            Self::Brotli => ".br",
            Self::Lz4 => ".lz4",
            Self::Lzip => ".lzip",
            Self::None
            | Self::Gzip
            | Self::Compress
            | Self::Grzip
            | Self::Lrzip
            | Self::Lzma
            | Self::Lzop => "",
        }
    }

    /// Whether a mirror can decompress it, and so verify the NAR inside.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        match self {
            Self::None
            | Self::Xz
            | Self::Bzip2
            | Self::Gzip
            | Self::Zstd
            | Self::Brotli
            | Self::Compress
            | Self::Lz4
            | Self::Lzip
            | Self::Lzma => true,
            Self::Grzip | Self::Lrzip | Self::Lzop => false,
        }
    }
}

impl FromStr for Compression {
    type Err = UnknownCompression;

    /// Reads a name; an empty one means bzip2, as in Nix.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.is_empty() {
            return Ok(Self::Bzip2);
        }
        Self::ALL
            .into_iter()
            .find(|compression| compression.name() == name)
            .ok_or_else(|| UnknownCompression { name: excerpt(name) })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

serde_as_string!(Compression);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for compression in Compression::ALL {
            assert_eq!(compression.name().parse(), Ok(compression));
        }
        assert_eq!("".parse(), Ok(Compression::Bzip2));
        assert_eq!("foo".parse::<Compression>(), Err(UnknownCompression { name: "foo".into() }));
        assert!("XZ".parse::<Compression>().is_err(), "names are case-sensitive");
    }

    #[test]
    fn suffixes_are_those_of_nix() {
        let suffixes = Compression::ALL.map(Compression::suffix).join(" ");
        assert_eq!(suffixes, " .xz .bz2  .zst .br    .lz4 .lzip  ");
    }
}
