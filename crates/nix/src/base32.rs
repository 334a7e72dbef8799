//! Nix's own base 32 ("nix32"): 32 characters without e, o, t and u, the last byte's high bits first.

use thiserror::Error;

/// The alphabet, by value.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// Not a value: what [`VALUES`] holds for a byte outside the alphabet.
const NONE: u8 = u8::MAX;

/// The value of each byte.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut value = 0;
    while value < 32 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Why a text is not nix32.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Base32Error {
    /// A character outside the alphabet, with its position counted from 0 in bytes.
    #[error("character {character:?} at position {position} is not of the nix32 alphabet")]
    Character {
        /// The character found there.
        character: char,
        /// Bytes before it.
        position: usize,
    },
    /// No number of whole bytes has an encoding of this length.
    #[error("{length} characters are no whole number of bytes in nix32")]
    Length {
        /// Characters given.
        length: usize,
    },
    /// The unused high bits are not zero, so the same bytes would have another spelling.
    #[error("the unused bits of the first character are not zero")]
    Padding,
}

/// The value (0 to 31) of one character, or nothing when it is outside the alphabet.
#[must_use]
pub fn value_of(character: u8) -> Option<u8> {
    match VALUES[usize::from(character)] {
        NONE => None,
        value => Some(value),
    }
}

/// Encodes bytes; the result has `ceil(8 n / 5)` characters.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let digits = (bytes.len() * 8).div_ceil(5);
    let mut text = String::with_capacity(digits);
    for digit in (0..digits).rev() {
        let (byte, shift) = (digit * 5 / 8, digit * 5 % 8);
        let low = u16::from(bytes[byte]);
        let high = bytes.get(byte + 1).map_or(0, |&b| u16::from(b) << 8);
        text.push(char::from(ALPHABET[usize::from((low | high) >> shift & 31)]));
    }
    text
}

/// Decodes a text; the inverse of [`encode`], which has exactly one spelling for each run of bytes.
pub fn decode(text: &str) -> Result<Vec<u8>, Base32Error> {
    check(text)?;
    let length = text.len() * 5 / 8;
    if (length * 8).div_ceil(5) != text.len() {
        return Err(Base32Error::Length { length: text.len() });
    }
    let mut bytes = vec![0_u8; length];
    for (digit, character) in text.bytes().rev().enumerate() {
        let (byte, shift) = (digit * 5 / 8, digit * 5 % 8);
        let [low, high] = (u16::from(VALUES[usize::from(character)]) << shift).to_le_bytes();
        bytes[byte] |= low;
        match bytes.get_mut(byte + 1) {
            Some(next) => *next |= high,
            None if high != 0 => return Err(Base32Error::Padding),
            None => {}
        }
    }
    Ok(bytes)
}

/// Tells whether every character is of the alphabet, and which is not.
pub fn check(text: &str) -> Result<(), Base32Error> {
    match text.char_indices().find(|(_, c)| !u8::try_from(*c).is_ok_and(|b| value_of(b).is_some())) {
        Some((position, character)) => Err(Base32Error::Character { character, position }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_pairs() {
        assert_eq!(encode(&[]), "");
        assert_eq!(encode(&[0x1f]), "0z");
        assert_eq!(encode(&[0xff]), "7z");
        // The example of the Nix test suite: SHA-256 of "abc".
        let abc = decode("1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s").unwrap();
        assert_eq!(abc[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn what_is_not_nix32_is_refused_with_its_place() {
        assert_eq!(decode("0e"), Err(Base32Error::Character { character: 'e', position: 1 }));
        assert_eq!(decode("ü"), Err(Base32Error::Character { character: 'ü', position: 0 }));
        assert_eq!(decode("0"), Err(Base32Error::Length { length: 1 }));
        assert_eq!(decode("zz"), Err(Base32Error::Padding));
    }

    proptest! {
        #[test]
        fn round_trip(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            prop_assert_eq!(decode(&encode(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn one_spelling(text in "[0-9a-df-np-sv-z]{0,60}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text);
            }
        }
    }
}
