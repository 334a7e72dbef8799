//! The groups of artifacts that are placed together.

use std::fmt;

/// How many partitions there are: three characters of Nix's base 32.
pub const PARTITIONS: usize = 32 * 32 * 32;

/// Nix's base-32 alphabet, in order of value.
const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// The value of a character of [`ALPHABET`], 255 for any other byte.
const VALUES: [u8; 256] = {
    let mut values = [u8::MAX; 256];
    let mut value = 0_u8;
    while (value as usize) < ALPHABET.len() {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// A partition, 0 to 32,767: the first three characters of a store path's hash part, which a person, an nginx `map` and a
/// shell script see too. It is shown as those characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u16);

impl Partition {
    /// The partition of the artifact with this hash part (or with this beginning of one). `None` when the first three
    /// characters are not of Nix's base 32.
    #[must_use]
    pub fn of(hash_part: &str) -> Option<Self> {
        let digits = hash_part.as_bytes().first_chunk::<3>()?;
        digits
            .iter()
            .try_fold(0_u16, |number, digit| match VALUES[usize::from(*digit)] {
                u8::MAX => None,
                value => Some(number << 5 | u16::from(value)),
            })
            .map(Self)
    }

    /// The partition with this number; `None` from 32,768 on.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        (usize::from(number) < PARTITIONS).then_some(Self(number))
    }

    /// The partition's number, 0 to 32,767.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }

    /// The partition's number, to index with.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// All partitions in order of number, which is also the order of their characters.
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator {
        (0..1_u16 << 15).map(Self)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |shift: u16| char::from(ALPHABET[usize::from(self.0 >> shift & 31)]);
        write!(formatter, "{}{}{}", digit(10), digit(5), digit(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_three_characters() {
        assert_eq!(Partition::of("000"), Partition::from_number(0));
        assert_eq!(Partition::of("zzzzz"), Partition::from_number(32_767));
        assert_eq!(Partition::of("0z10000").map(Partition::number), Some(31 * 32 + 1));
        for bad in ["", "00", "00e", "o00", "0u0", "t00", "A00", "0é0"] {
            assert_eq!(Partition::of(bad), None, "{bad}");
        }
        assert_eq!(Partition::from_number(32_768), None);
    }

    #[test]
    fn all_partitions_are_shown_as_what_they_are_read_from() {
        assert_eq!(Partition::all().len(), PARTITIONS);
        let shown: Vec<String> = Partition::all().map(|partition| partition.to_string()).collect();
        assert!(shown.is_sorted());
        for (number, text) in shown.iter().enumerate() {
            assert_eq!(Partition::of(text).map(Partition::index), Some(number));
        }
    }
}
