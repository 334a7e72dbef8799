//! SHA-256 digests in the notations of Nix.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::base32::{self, Base32Error};
use crate::text::{excerpt, serde_as_string};

/// A SHA-256 digest, the only kind that Nix writes as `NarHash` and `FileHash`. Shown as `sha256:<nix32>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; 32]);

/// Why a text is not a SHA-256 digest.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HashError {
    /// Neither `sha256:…` nor `sha256-…`.
    #[error("{text:?} is not of the form sha256:<digest> or sha256-<base64>")]
    Kind {
        /// The text, shortened.
        text: String,
    },
    /// The digest has no length of a known notation.
    #[error("the digest has {length} characters; 52 (nix32), 64 (hex) or 44 (base64) are expected")]
    Length {
        /// Bytes given after the prefix.
        length: usize,
    },
    /// 52 characters that are not nix32.
    #[error("the digest is not nix32: {0}")]
    Base32(#[from] Base32Error),
    /// 64 characters that are not hexadecimal.
    #[error("the digest is not hexadecimal")]
    Hex,
    /// Not base64 of 32 bytes.
    #[error("the digest is not base64 of 32 bytes")]
    Base64,
}

impl Hash {
    /// A digest made elsewhere.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest of `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(<sha2::Sha256 as sha2::Digest>::digest(data).into())
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 52 nix32 characters, without the kind.
    #[must_use]
    pub fn to_nix32(&self) -> String {
        base32::encode(&self.0)
    }

    /// 64 hexadecimal characters, without the kind.
    #[must_use]
    pub fn to_hex(&self) -> String {
        let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

impl FromStr for Hash {
    type Err = HashError;

    /// Reads `sha256:` with nix32, hex or base64, and SRI (`sha256-<base64>`).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(digest) = text.strip_prefix("sha256-") {
            return parse_base64(digest);
        }
        let digest = text.strip_prefix("sha256:").ok_or_else(|| HashError::Kind { text: excerpt(text) })?;
        match digest.len() {
            52 => base32::decode(digest)?.try_into().map(Self).map_err(|_| HashError::Length { length: 52 }),
            64 => parse_hex(digest.as_bytes()),
            44 => parse_base64(digest),
            length => Err(HashError::Length { length }),
        }
    }
}

fn parse_base64(digest: &str) -> Result<Hash, HashError> {
    let bytes = STANDARD.decode(digest).map_err(|_| HashError::Base64)?;
    bytes.try_into().map(Hash).map_err(|_| HashError::Base64)
}

fn parse_hex(digits: &[u8]) -> Result<Hash, HashError> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let (Some(high), Some(low)) = (value(pair[0]), value(pair[1])) else { return Err(HashError::Hex) };
        *byte = high << 4 | low;
    }
    Ok(Hash(bytes))
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_nix32())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

serde_as_string!(Hash);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NIX32: &str = "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";
    const HEX: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const BASE64: &str = "sha256:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";
    const SRI: &str = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    #[test]
    fn one_digest_in_four_notations() {
        let abc = Hash::of(b"abc");
        for text in [NIX32, HEX, &HEX.to_uppercase().replace("SHA", "sha"), BASE64, SRI] {
            assert_eq!(text.parse(), Ok(abc), "{text}");
        }
        assert_eq!(abc.to_string(), NIX32);
        assert_eq!(format!("sha256:{}", abc.to_hex()), HEX);
        assert_eq!(serde_json::to_string(&abc).unwrap(), format!("{NIX32:?}"));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let parse = |text: &str| text.parse::<Hash>().unwrap_err();
        assert!(matches!(parse(&NIX32[7..]), HashError::Kind { .. }));
        assert!(matches!(parse("sha1:ak1ymbmsfx7z8kh09jzkr3a4dvkrfjw"), HashError::Kind { .. }));
        assert!(matches!(parse("sha256:"), HashError::Length { length: 0 }));
        assert!(matches!(
            parse(&NIX32.replace("1b", "1e")),
            HashError::Base32(Base32Error::Character { .. })
        ));
        assert!(matches!(parse(&NIX32.replace("1b", "zb")), HashError::Base32(Base32Error::Padding)));
        assert!(matches!(parse(&HEX.replace("ba", "bx")), HashError::Hex));
        assert!(matches!(parse("sha256-AAAA"), HashError::Base64));
    }

    proptest! {
        #[test]
        fn round_trip(bytes in any::<[u8; 32]>()) {
            let hash = Hash::from_bytes(bytes);
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
            prop_assert_eq!(format!("sha256:{}", hash.to_hex()).parse(), Ok(hash));
            prop_assert_eq!(format!("sha256-{}", STANDARD.encode(bytes)).parse(), Ok(hash));
        }

        #[test]
        fn never_panics(text in "(sha256[:-])?\\PC{0,70}") {
            let _ = text.parse::<Hash>();
        }
    }
}
