//! Sizes in the file: `200Gi`, `50Mi`, or a plain number of bytes.

use std::fmt;
use std::str::FromStr;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

/// A number of bytes, written as a whole number with `Ki`, `Mi`, `Gi` or `Ti` behind it, or with nothing for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u32); 4] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, shift) = UNITS
            .iter()
            .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
            .unwrap_or((text, 0));
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = plain.then(|| digits.parse::<u64>().ok()).flatten();
        number.and_then(|number| number.checked_mul(1 << shift)).map(Self).ok_or_else(|| {
            format!(
                "{text:?} is no size; write a whole number of bytes, or one with Ki, Mi, Gi or Ti, as 200Gi"
            )
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// What fails in here is told with the name of its field.
struct Written;

impl Visitor<'_> for Written {
    type Value = Size;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a size, as 200Gi, 50Mi or a number of bytes")
    }

    fn visit_u64<E: serde::de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_number_with_a_binary_unit() {
        let read = |yaml: &str| serde_yaml::from_str::<Size>(yaml);
        for (text, bytes) in
            [("7", 7), ("0", 0), ("1Ki", 1024), ("50Mi", 50 << 20), ("200Gi", 200 << 30), ("'3Ti'", 3 << 40)]
        {
            assert_eq!(read(text).unwrap(), Size(bytes), "{text}");
        }
        for bad in ["-1", "1.5Gi", "1 Gi", "Gi", "1G", "1gi", "+1Ki", "99999999999Ti", "[]"] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("200Gi"), "{bad}: {error}");
            let named =
                serde_yaml::from_str::<std::collections::BTreeMap<String, Size>>(&format!("field: {bad}"));
            assert!(named.unwrap_err().to_string().contains("field"), "{bad}");
        }
    }
}
