//! Nix's signing keys: `<name>:<base64>`.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use thiserror::Error;

use crate::signature::{BASE64, Signature, split_name};
use crate::text::{excerpt, serde_as_string};

/// A public key with its name, as in `trusted-public-keys`.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: VerifyingKey,
}

/// A secret key with its name, as `nix-store --generate-binary-cache-key` writes it. `Debug` does not show it.
#[derive(Clone)]
pub struct SecretKey {
    name: String,
    key: SigningKey,
}

/// Why a text is not a key. The messages never repeat key material.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// No colon, no name before it, or white space in the name.
    #[error("a key is written <name>:<base64>, for instance cache.example.org-1:AAAA…=")]
    Form,
    /// The part after the name is not base64.
    #[error("key {name:?}: what follows the name is not base64")]
    Base64 {
        /// The key's name, shortened.
        name: String,
    },
    /// A secret key was given where a public one belongs.
    #[error("key {name:?} has 64 bytes: that is a secret key, and a public key (32 bytes) belongs here")]
    SecretAsPublic {
        /// The key's name, shortened.
        name: String,
    },
    /// Wrong length.
    #[error("key {name:?} has {length} bytes instead of {expected}")]
    Length {
        /// The key's name, shortened.
        name: String,
        /// Bytes given.
        length: usize,
        /// 32 for a public key, 64 for a secret one.
        expected: usize,
    },
    /// The bytes are no usable Ed25519 key: no point of the curve, a weak one, or halves that do not match.
    #[error("key {name:?} is not a usable Ed25519 key")]
    Unusable {
        /// The key's name, shortened.
        name: String,
    },
}

impl PublicKey {
    /// The key's name; signatures name their key by it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Ed25519 key.
    pub(crate) const fn key(&self) -> &VerifyingKey {
        &self.key
    }
}

impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, bytes) = decode(text)?;
        let shown = || excerpt(name);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| match bytes.len() {
            64 => KeyError::SecretAsPublic { name: shown() },
            length => KeyError::Length { name: shown(), length, expected: 32 },
        })?;
        let key = VerifyingKey::from_bytes(&bytes)
            .ok()
            // A weak key has signatures that anyone can make.
            .filter(|key| !key.is_weak())
            .ok_or_else(|| KeyError::Unusable { name: shown() })?;
        Ok(Self { name: name.to_owned(), key })
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, BASE64.encode(self.key.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

serde_as_string!(PublicKey);

impl SecretKey {
    /// Makes a key of 32 random bytes.
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        match split_name(&format!("{name}:")) {
            Some((whole, "")) => Ok(Self { name: whole.to_owned(), key: SigningKey::from_bytes(seed) }),
            _ => Err(KeyError::Form),
        }
    }

    /// The key's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public half, under the same name.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        PublicKey { name: self.name.clone(), key: self.key.verifying_key() }
    }

    /// Signs a narinfo's fingerprint.
    #[must_use]
    pub fn sign(&self, fingerprint: &str) -> Signature {
        Signature::new(self.name.clone(), self.key.sign(fingerprint.as_bytes()).to_bytes())
    }

    /// The text that Nix reads as a key file. Whoever has it can sign.
    #[must_use]
    pub fn expose(&self) -> String {
        format!("{}:{}", self.name, BASE64.encode(self.key.to_keypair_bytes()))
    }
}

impl FromStr for SecretKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, bytes) = decode(text)?;
        let shown = || excerpt(name);
        let length = bytes.len();
        let bytes: [u8; 64] =
            bytes.try_into().map_err(|_| KeyError::Length { name: shown(), length, expected: 64 })?;
        let key = SigningKey::from_keypair_bytes(&bytes).map_err(|_| KeyError::Unusable { name: shown() })?;
        Ok(Self { name: name.to_owned(), key })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({}:…)", self.name)
    }
}

/// The name and the decoded bytes. White space around the text is ignored, so that a key file's final LF is.
fn decode(text: &str) -> Result<(&str, Vec<u8>), KeyError> {
    let (name, digits) = split_name(text.trim()).ok_or(KeyError::Form)?;
    let bytes = BASE64.decode(digits).map_err(|_| KeyError::Base64 { name: excerpt(name) })?;
    Ok((name, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_seed("demo-1", &[3; 32]).unwrap()
    }

    #[test]
    fn keys_read_back() {
        let public = key().public_key();
        assert_eq!(public.to_string().parse(), Ok(public.clone()));
        assert_eq!(format!(" {public}\n").parse(), Ok(public.clone()));
        let secret: SecretKey = key().expose().parse().unwrap();
        assert_eq!(secret.public_key(), public);
    }

    #[test]
    fn what_is_no_key_is_told_apart() {
        let public = |text: &str| text.parse::<PublicKey>().unwrap_err();
        assert_eq!(public("demo-1"), KeyError::Form);
        assert_eq!(public("demo-1:???"), KeyError::Base64 { name: "demo-1".into() });
        assert_eq!(public(&key().expose()), KeyError::SecretAsPublic { name: "demo-1".into() });
        assert_eq!(public("d:AAAA"), KeyError::Length { name: "d".into(), length: 3, expected: 32 });
        // The neutral element: a point of order one, for which any message can be signed.
        let mut weak = [0; 32];
        weak[0] = 1;
        let weak = format!("d:{}", BASE64.encode(weak));
        assert_eq!(public(&weak), KeyError::Unusable { name: "d".into() });

        let mut halves = key().key.to_keypair_bytes();
        halves[63] ^= 1;
        let mixed = format!("d:{}", BASE64.encode(halves)).parse::<SecretKey>();
        assert_eq!(mixed.unwrap_err(), KeyError::Unusable { name: "d".into() });
        assert_eq!(SecretKey::from_seed("a b", &[0; 32]).unwrap_err(), KeyError::Form);
        assert_eq!(SecretKey::from_seed("a:b", &[0; 32]).unwrap_err(), KeyError::Form);
    }

    #[test]
    fn a_secret_key_does_not_show_in_debug_output() {
        assert_eq!(format!("{:?}", key()), "SecretKey(demo-1:…)");
    }
}
