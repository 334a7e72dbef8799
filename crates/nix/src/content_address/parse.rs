//! The notation: `text:<hash>` or `fixed:[r:|git:]<hash>`, a hash being `<algorithm>:<digest>`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::base32;
use crate::text::excerpt;

/// What a path is named by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentAddress {
    /// What was hashed.
    pub method: Method,
    /// With which algorithm.
    pub algorithm: Algorithm,
    /// The digest, of the length that the algorithm gives.
    pub(super) digest: Vec<u8>,
}

/// What the digest is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `text:`: the bytes of a file that Nix itself wrote, such as a derivation. It may have references.
    Text,
    /// `fixed:`: the bytes of a single file that may not be executed.
    Flat,
    /// `fixed:r:`: the NAR.
    Nar,
    /// `fixed:git:`: the tree as git hashes it.
    Git,
}

/// Hash algorithms of Nix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// MD5, which proves nothing.
    Md5,
    /// SHA-1, which proves little.
    Sha1,
    /// SHA-256, the usual one.
    Sha256,
    /// SHA-512.
    Sha512,
    /// BLAKE3.
    Blake3,
}

/// Why a `CA` value is malformed; Nix reports such a narinfo as corrupt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ContentAddressError {
    /// Neither `text:…` nor `fixed:…`.
    #[error("content address {text:?} begins neither with text: nor with fixed:")]
    Method {
        /// The value, shortened.
        text: String,
    },
    /// The algorithm is not one of Nix.
    #[error("content address {text:?} names no hash algorithm of Nix")]
    Algorithm {
        /// The value, shortened.
        text: String,
    },
    /// The digest has no length that the algorithm gives in nix32, hex or base64.
    #[error("the digest of content address {text:?} has the wrong length or characters")]
    Digest {
        /// The value, shortened.
        text: String,
    },
}

impl Algorithm {
    const ALL: [Self; 5] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512, Self::Blake3];

    /// Its name in Nix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Blake3 => "blake3",
        }
    }

    /// Bytes of its digests.
    const fn length(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 | Self::Blake3 => 32,
            Self::Sha512 => 64,
        }
    }

    /// Reads a digest in nix32, hex or base64, which its length tells apart.
    fn decode(self, digest: &str) -> Option<Vec<u8>> {
        let bytes = if digest.len() == (self.length() * 8).div_ceil(5) {
            base32::decode(digest).ok()?
        } else if digest.len() == self.length() * 2 {
            let digits = digest.chars().map(|digit| digit.to_digit(16)).collect::<Option<Vec<_>>>()?;
            digits
                .chunks_exact(2)
                .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).ok())
                .collect::<Option<_>>()?
        } else {
            STANDARD.decode(digest).ok()?
        };
        (bytes.len() == self.length()).then_some(bytes)
    }
}

impl Method {
    /// What stands before the hash.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Text => "text:",
            Self::Flat => "fixed:",
            Self::Nar => "fixed:r:",
            Self::Git => "fixed:git:",
        }
    }
}

impl ContentAddress {
    /// The digest in hexadecimal characters.
    pub(super) fn hex(&self) -> String {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        self.digest.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

/// Checks the notation.
pub(crate) fn check(text: &str) -> Result<(), ContentAddressError> {
    text.parse::<ContentAddress>().map(drop)
}

impl FromStr for ContentAddress {
    type Err = ContentAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The longer prefixes first: `fixed:` begins three of them.
        let methods = [Method::Text, Method::Nar, Method::Git, Method::Flat];
        let (method, hash) = methods
            .into_iter()
            .find_map(|method| Some((method, text.strip_prefix(method.prefix())?)))
            .ok_or_else(|| ContentAddressError::Method { text: excerpt(text) })?;
        let (algorithm, digest) = Algorithm::ALL
            .into_iter()
            .find_map(|algorithm| {
                Some((algorithm, hash.strip_prefix(algorithm.name())?.strip_prefix([':', '-'])?))
            })
            .ok_or_else(|| ContentAddressError::Algorithm { text: excerpt(text) })?;
        let digest =
            algorithm.decode(digest).ok_or_else(|| ContentAddressError::Digest { text: excerpt(text) })?;
        Ok(Self { method, algorithm, digest })
    }
}

impl fmt::Display for ContentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, algorithm, digest } = self;
        write!(f, "{}{}:{}", method.prefix(), algorithm.name(), base32::encode(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_nix_pass() {
        let (md5, sha1, sha256, sha512) = ("0".repeat(26), "0".repeat(32), "0".repeat(52), "0".repeat(103));
        for text in [
            format!("text:sha256:{sha256}"),
            format!("fixed:sha256:{sha256}"),
            format!("fixed:r:sha256:{sha256}"),
            format!("fixed:r:sha1:{sha1}"),
            format!("fixed:md5:{md5}"),
            format!("fixed:sha512:{sha512}"),
            format!("fixed:git:sha1:{sha1}"),
            format!("fixed:r:blake3:{sha256}"),
        ] {
            assert_eq!(text.parse::<ContentAddress>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn one_digest_in_three_notations() {
        let parse = |digest: &str| format!("fixed:git:sha1:{digest}").parse::<ContentAddress>();
        let hex = parse("f572d396fae9206628714fb2ce00f72e94f2258f").unwrap();
        assert_eq!(hex.hex(), "f572d396fae9206628714fb2ce00f72e94f2258f");
        assert_eq!(parse("F572D396FAE9206628714FB2CE00F72E94F2258F"), Ok(hex.clone()));
        assert_eq!(parse("9XLTlvrpIGYocU+yzgD3LpTyJY8="), Ok(hex.clone()));
        assert_eq!("fixed:git:sha1-9XLTlvrpIGYocU+yzgD3LpTyJY8=".parse(), Ok(hex.clone()));
        assert_eq!(hex.to_string().parse(), Ok(hex));
    }

    #[test]
    fn other_forms_are_told_apart() {
        let parse = |text: &str| text.parse::<ContentAddress>();
        assert!(matches!(parse("sha256:0"), Err(ContentAddressError::Method { .. })));
        assert!(matches!(parse("fixed:hash"), Err(ContentAddressError::Algorithm { .. })));
        assert!(matches!(parse("fixed:r:sha256:00"), Err(ContentAddressError::Digest { .. })));
        for digest in [format!("{} ", "0".repeat(51)), "e".repeat(52), "g".repeat(64), "=".repeat(44)] {
            let text = format!("text:sha256:{digest}");
            assert!(matches!(check(&text), Err(ContentAddressError::Digest { .. })), "{digest}");
        }
    }
}
