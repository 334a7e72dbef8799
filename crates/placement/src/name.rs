//! The name of one mirror.

use std::{borrow::Borrow, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A mirror's name: a DNS label, so that it can be a Kubernetes object's and a host's name. An operator's holder is named
/// `<CacheMirror>-<ordinal>`, such as `north-0`; a mirror without Kubernetes has any label, such as `local`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MirrorName(String);

/// Why a text is no mirror name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a mirror name: use 1 to 63 characters of a-z, 0-9 and '-', with a letter or digit first and last"
)]
pub struct NameError(pub String);

/// Whether `text` is a DNS label (RFC 1123): what Kubernetes asks of Services and namespaces.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    text.len() <= 63
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && edge(text.as_bytes().first())
        && edge(text.as_bytes().last())
}

impl MirrorName {
    /// The name of the holder with this ordinal of a `CacheMirror`.
    pub fn of_holder(cache_mirror: &str, ordinal: u32) -> Result<Self, NameError> {
        format!("{cache_mirror}-{ordinal}").parse()
    }

    /// The `CacheMirror` and the ordinal that the name is made of; `None` for a name of another form.
    #[must_use]
    pub fn holder(&self) -> Option<(&str, u32)> {
        let (cache_mirror, ordinal) = self.0.rsplit_once('-')?;
        let number: u32 = ordinal.parse().ok()?;
        // "north-007" would name the holder "north-7" a second time.
        (!cache_mirror.is_empty() && number.to_string() == ordinal).then_some((cache_mirror, number))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MirrorName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for MirrorName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        if is_dns_label(&text) { Ok(Self(text)) } else { Err(NameError(text)) }
    }
}

impl From<MirrorName> for String {
    fn from(name: MirrorName) -> Self {
        name.0
    }
}

impl AsRef<str> for MirrorName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for MirrorName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MirrorName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dns_labels_are_names() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "north-0", "a--b", longest.as_str()] {
            assert_eq!(good.parse::<MirrorName>().map(String::from).as_deref(), Ok(good));
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-", "-a", "a-", "A", "a.b", "a_b", "a b", "ä", "a\n", too_long.as_str()] {
            assert_eq!(bad.parse::<MirrorName>(), Err(NameError(bad.to_owned())));
        }
        assert!(serde_json::from_str::<MirrorName>("\"a/b\"").is_err());
    }

    #[test]
    fn a_holder_name_splits_into_what_made_it() {
        let name = MirrorName::of_holder("far-north", 12).unwrap();
        assert_eq!((name.as_str(), name.holder()), ("far-north-12", Some(("far-north", 12))));
        for other in ["local", "north-007", "north-x", "north-99999999999"] {
            assert_eq!(other.parse::<MirrorName>().unwrap().holder(), None, "{other}");
        }
        assert!(MirrorName::of_holder(&"a".repeat(62), 0).is_err());
    }
}
