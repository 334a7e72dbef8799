//! A length of time, as the mirror's configuration file has it.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A length of time: a whole number above zero and a unit, `s`, `m`, `h` or `d`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Duration(String);

/// Why a text is not a [`Duration`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time: write a whole number above zero with s, m, h or d, for example 14d")]
pub struct InvalidDuration;

const UNITS: [(char, u64); 4] = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];

// === impl Duration ===

impl Duration {
    /// Takes a text as it stands; it is checked where its seconds are asked for.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as the user wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The length in seconds, above zero.
    pub fn seconds(&self) -> Result<u64, InvalidDuration> {
        let parts = UNITS.iter().find_map(|(unit, seconds)| Some((self.0.strip_suffix(*unit)?, *seconds)));
        let (digits, unit) = parts.ok_or(InvalidDuration)?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidDuration);
        }
        let number: u64 = digits.parse().map_err(|_| InvalidDuration)?;
        number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or(InvalidDuration)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 12,
            "x-kubernetes-validations": [{
                "rule": "self.matches(r'^0*[1-9][0-9]*(s|m|h|d)$')",
                "message": InvalidDuration.to_string(),
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_of_every_unit() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("6h", 21_600), ("14d", 1_209_600)] {
            assert_eq!(Duration::new(text).seconds(), Ok(seconds), "{text}");
        }
        for bad in ["", "0s", "14", "d", "-1d", "1.5d", "1 d", "1w", "99999999999999999999d"] {
            assert_eq!(Duration::new(bad).seconds(), Err(InvalidDuration), "{bad}");
        }
    }
}
