//! An amount of bytes, written as Kubernetes writes quantities.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// An amount of bytes in Kubernetes' notation: a whole number, maybe with a unit (`Ki`, `Mi`, `Gi`, `Ti`, `Pi`, or the decimal `k`, `M`,
/// `G`, `T`, `P`). Always a text; whole numbers only, so that nothing is rounded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Size(String);

/// Why a text is not a [`Size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size: write a whole number above zero with a unit, for example 500Gi or 8Ti")]
pub struct InvalidSize;

const UNITS: [(&str, u64); 10] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("Pi", 1 << 50),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
    ("P", 1_000_000_000_000_000),
];

const GIB: u64 = 1 << 30;

// === impl Size ===

impl Size {
    /// Takes a text as it stands; it is checked where its bytes are asked for.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as the user wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The amount in bytes: above zero, below 2^63.
    pub fn bytes(&self) -> Result<u64, InvalidSize> {
        let (digits, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| self.0.strip_suffix(suffix).map(|digits| (digits, *unit)))
            .unwrap_or((&self.0, 1));
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidSize);
        }
        let number: u64 = digits.parse().map_err(|_| InvalidSize)?;
        number
            .checked_mul(unit)
            .filter(|bytes| (1..=i64::MAX.cast_unsigned()).contains(bytes))
            .ok_or(InvalidSize)
    }

    /// The amount as a placement weight: whole GiB, at least 1, at most `u32::MAX`.
    pub fn weight(&self) -> Result<u32, InvalidSize> {
        self.bytes().map(|bytes| u32::try_from((bytes / GIB).max(1)).unwrap_or(u32::MAX))
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 20,
            "x-kubernetes-validations": [{
                "rule": "self.matches(r'^0*[1-9][0-9]*(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$')",
                "message": InvalidSize.to_string(),
            }],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_every_unit() {
        for (text, bytes) in [
            ("1", 1),
            ("2k", 2_000),
            ("3Ki", 3_072),
            ("500Gi", 500 << 30),
            ("1Ti", 1 << 40),
            ("1T", 1_000_000_000_000),
        ] {
            assert_eq!(Size::new(text).bytes(), Ok(bytes), "{text}");
        }
        for bad in
            ["", "0", "0Gi", "-1", "+1", "1.5Gi", "1 Gi", "Gi", "1Xi", "9223372036854775808", "99999Pi"]
        {
            assert_eq!(Size::new(bad).bytes(), Err(InvalidSize), "{bad}");
        }
    }

    #[test]
    fn weight_is_whole_gib_and_never_zero() {
        assert_eq!(Size::new("1Ti").weight(), Ok(1024));
        assert_eq!(Size::new("1Mi").weight(), Ok(1));
        assert_eq!(Size::new("8000Pi").weight(), Ok(u32::MAX));
    }
}
