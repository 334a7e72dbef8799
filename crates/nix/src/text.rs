//! Small helpers for values that are written as one string.

/// Implements serde by `Display` and `FromStr`, so that every notation of a value goes through its one parser.
macro_rules! serde_as_string {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_string;

/// Cuts what a stranger wrote to a length that an error message can carry.
pub(crate) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 60;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The same for bytes that need not be text.
pub(crate) fn excerpt_bytes(bytes: &[u8]) -> String {
    // More than an excerpt has, so that its end shows that it was cut.
    let enough = &bytes[..bytes.len().min(512)];
    excerpt(&String::from_utf8_lossy(enough))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_can_be_shown() {
        assert_eq!(excerpt_bytes(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(excerpt_bytes(&[b'x'; 5000]), excerpt(&"x".repeat(5000)));
    }

    #[test]
    fn an_excerpt_cuts_between_characters() {
        assert_eq!(excerpt("short"), "short");
        assert_eq!(excerpt(&"ü".repeat(61)), format!("{}…", "ü".repeat(60)));
    }
}
