//! Times in the file: `14d`, `6h`, `30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

/// A length of time, written as a whole number with `s`, `m`, `h` or `d` behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Duration);

const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, *seconds)));
        parts
            .filter(|(digits, _)| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|(digits, seconds)| digits.parse::<u64>().ok()?.checked_mul(seconds))
            .map(|seconds| Self(Duration::from_secs(seconds)))
            .ok_or_else(|| {
                format!("{text:?} is no length of time; write a whole number with s, m, h or d, as 14d")
            })
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Written)
    }
}

/// What fails in here is told with the name of its field.
struct Written;

impl Visitor<'_> for Written {
    type Value = Time;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a length of time, as 14d, 6h or 30s")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Time, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        let read = |yaml: &str| serde_yaml::from_str::<Time>(yaml);
        for (text, seconds) in [("30s", 30), ("5m", 300), ("6h", 21_600), ("14d", 1_209_600), ("0s", 0)] {
            assert_eq!(read(text).unwrap(), Time(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["14", "1.5d", "-1d", "d", "1 d", "1w", "99999999999999999999d", "9999999999999999d", "[]"]
        {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("14d"), "{bad}: {error}");
        }
    }
}
