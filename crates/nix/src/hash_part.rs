//! The 32 characters by which a store path is looked up.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::base32::{self, Base32Error};
use crate::text::serde_as_string;

/// The hash part of a store path: 32 nix32 characters (160 bits). It is an artifact's identity and the name of
/// its narinfo.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashPart([u8; Self::LENGTH]);

/// Why a text is not a hash part.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HashPartError {
    /// Not 32 bytes long.
    #[error("the hash part has {length} characters instead of 32")]
    Length {
        /// Bytes given.
        length: usize,
    },
    /// A character outside nix32.
    #[error("the hash part is not nix32: {0}")]
    Base32(#[from] Base32Error),
}

impl HashPart {
    /// Characters of a hash part.
    pub const LENGTH: usize = 32;
    /// Bytes of a packed one.
    pub const BYTES: usize = 20;

    /// The characters.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of nix32 characters only, which are ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The hash part of a base name that has been checked.
    pub(crate) fn of_checked(base: &str) -> Self {
        let mut part = [0; Self::LENGTH];
        part.copy_from_slice(&base.as_bytes()[..Self::LENGTH]);
        Self(part)
    }

    /// Its 160 bits, for whoever keeps very many. Ordered as the characters are.
    #[must_use]
    pub fn pack(&self) -> [u8; Self::BYTES] {
        let mut packed = [0; Self::BYTES];
        for (bytes, characters) in packed.chunks_exact_mut(5).zip(self.0.chunks_exact(8)) {
            let value = |character: &u8| u64::from(base32::value_of(*character).unwrap_or_default());
            let bits = characters.iter().fold(0, |bits, character| bits << 5 | value(character));
            bytes.copy_from_slice(&bits.to_be_bytes()[3..]);
        }
        packed
    }

    /// The hash part of 160 bits: the inverse of [`Self::pack`].
    #[must_use]
    pub fn unpack(packed: &[u8; Self::BYTES]) -> Self {
        let mut characters = [0; Self::LENGTH];
        for (characters, bytes) in characters.chunks_exact_mut(8).zip(packed.chunks_exact(5)) {
            let bits = bytes.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            for (place, character) in characters.iter_mut().rev().enumerate() {
                *character = base32::ALPHABET[(bits >> (5 * place) & 31) as usize];
            }
        }
        Self(characters)
    }

    /// The name of the artifact's narinfo in a cache: `<hash part>.narinfo`.
    #[must_use]
    pub fn narinfo_name(&self) -> String {
        format!("{self}.narinfo")
    }
}

impl FromStr for HashPart {
    type Err = HashPartError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes().try_into().map_err(|_| HashPartError::Length { length: text.len() })?;
        base32::check(text)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for HashPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for HashPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashPart({self})")
    }
}

impl AsRef<str> for HashPart {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

serde_as_string!(HashPart);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la";

    #[test]
    fn written_as_it_was_read() {
        let part: HashPart = TEXT.parse().unwrap();
        assert_eq!(part.to_string(), TEXT);
        assert_eq!(part.narinfo_name(), format!("{TEXT}.narinfo"));
        let json = serde_json::to_string(&part).unwrap();
        assert_eq!(serde_json::from_str::<HashPart>(&json).unwrap(), part);
    }

    #[test]
    fn length_and_alphabet_are_checked() {
        assert_eq!("abc".parse::<HashPart>(), Err(HashPartError::Length { length: 3 }));
        let error = TEXT.replace("00", "0e").parse::<HashPart>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "the hash part is not nix32: character 'e' at position 1 is not of the nix32 alphabet"
        );
    }

    proptest! {
        #[test]
        fn packed_in_the_same_order_and_back(a in "[0-9a-df-np-sv-z]{32}", b in "[0-9a-df-np-sv-z]{32}") {
            let parts = [a, b].map(|text| text.parse::<HashPart>().unwrap());
            prop_assert_eq!(parts[0].pack().cmp(&parts[1].pack()), parts[0].cmp(&parts[1]));
            prop_assert_eq!(HashPart::unpack(&parts[0].pack()), parts[0]);
        }

        #[test]
        fn every_160_bits_are_a_hash_part(bits: [u8; 20]) {
            let part = HashPart::unpack(&bits);
            prop_assert_eq!(part.to_string().parse(), Ok(part));
            prop_assert_eq!(part.pack(), bits);
        }
    }
}
