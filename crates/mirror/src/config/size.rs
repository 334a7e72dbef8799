//! Sizes in the file: `200Gi`, `50Mi`, or a plain number of bytes.

use std::str::FromStr;

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
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Text(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Bytes(bytes)) => Ok(Self(bytes)),
            Ok(Written::Text(text)) => text.parse().map_err(serde::de::Error::custom),
            Err(_) => Err(serde::de::Error::custom("write a size, as 200Gi, 50Mi or a number of bytes")),
        }
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
        }
    }
}
