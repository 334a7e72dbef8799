//! Signatures as narinfos carry them: `<key name>:<base64>`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use thiserror::Error;

use crate::text::{excerpt, serde_as_string};

/// Reads base64 with or without padding, as Nix does; writes it with.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An Ed25519 signature and the name of the key that is said to have made it. Nothing is verified yet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    key_name: String,
    bytes: [u8; 64],
}

/// Why a text is not a signature.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// No colon, no name before it, or white space in the name.
    #[error("{text:?} is not of the form <key name>:<base64>")]
    Form {
        /// The text, shortened.
        text: String,
    },
    /// Not base64 of 64 bytes.
    #[error("the signature by {key_name:?} is not base64 of 64 bytes")]
    Base64 {
        /// The key's name, shortened.
        key_name: String,
    },
}

impl Signature {
    /// A signature made elsewhere.
    pub(crate) const fn new(key_name: String, bytes: [u8; 64]) -> Self {
        Self { key_name, bytes }
    }

    /// The name of the key.
    #[must_use]
    pub fn key_name(&self) -> &str {
        &self.key_name
    }

    /// The signature itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.bytes
    }
}

/// Splits `<key name>:<rest>`; the name is not empty and has no white space or control character.
pub(crate) fn split_name(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once(':')?;
    let bad = name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control());
    (!bad).then_some((name, rest))
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digits) = split_name(text).ok_or_else(|| SignatureError::Form { text: excerpt(text) })?;
        let bytes = BASE64.decode(digits).ok().and_then(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| SignatureError::Base64 { key_name: excerpt(name) })?;
        Ok(Self { key_name: name.to_owned(), bytes })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.key_name, BASE64.encode(self.bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

serde_as_string!(Signature);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_may_be_absent_when_read_and_is_written() {
        let signature = Signature::new("demo-1".into(), [7; 64]);
        let text = signature.to_string();
        assert!(text.ends_with("=="));
        assert_eq!(text.parse(), Ok(signature.clone()));
        assert_eq!(text.trim_end_matches('=').parse(), Ok(signature));
    }

    #[test]
    fn malformed_ones_are_refused() {
        for text in ["", "asdf", ":AAAA", "a b:AAAA", "a\n:AAAA"] {
            assert!(matches!(text.parse::<Signature>(), Err(SignatureError::Form { .. })), "{text:?}");
        }
        let long = format!("k:{}", BASE64.encode([0; 65]));
        for text in ["k:", "k:AAAA", "k:%%%", &long] {
            assert!(matches!(text.parse::<Signature>(), Err(SignatureError::Base64 { .. })), "{text:?}");
        }
    }
}
