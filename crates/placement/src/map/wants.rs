//! What a policy follows, and how long it keeps what it no longer wants.

use serde::{Deserialize, Serialize};

/// A channel: `<url>/store-paths.xz` lists the store paths of its newest revision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Its URL, without a trailing slash; the last part is the channel's name.
    pub url: String,
    /// How many complete revisions are kept, 1 to [`super::MAX_KEEP`].
    pub keep: u16,
}

impl Channel {
    /// The last part of the URL: `nixos-26.05`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or_default()
    }

    /// Whether the URL ends in a name, below a host: letters, digits, `.`, `_` and `-`, at most 100, not beginning with a dot.
    /// It becomes the name of a folder.
    #[must_use]
    pub fn is_named(&self) -> bool {
        let below_host = self.url.splitn(4, '/').nth(3).is_some();
        let name = self.name();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        below_host && plain && !name.is_empty() && !name.starts_with('.') && name.len() <= 100
    }
}

/// How long artifacts stay on a mirror that no policy wants any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Published, in seconds.
    pub grace_seconds: u64,
    /// The NAR file in the trash after that, in seconds.
    pub trash_seconds: u64,
}

impl Retention {
    /// The longer of each.
    #[must_use]
    pub fn longest(self, other: Self) -> Self {
        let Self { grace_seconds, trash_seconds } = self;
        Self {
            grace_seconds: grace_seconds.max(other.grace_seconds),
            trash_seconds: trash_seconds.max(other.trash_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_named_by_the_end_of_its_url() {
        let channel = |url: &str| Channel { url: url.into(), keep: 1 };
        let good = channel("https://channels.nixos.org/nixos-26.05");
        assert!(good.is_named());
        assert_eq!(good.name(), "nixos-26.05");
        for bad in ["https://channels.nixos.org", "https://x/", "https://x/..", "https://x/a%20b", "x"] {
            assert!(!channel(bad).is_named(), "{bad}");
        }
        assert!(!channel(&format!("https://x/{}", "a".repeat(101))).is_named());
    }

    #[test]
    fn the_longest_of_each_period() {
        let of = |grace_seconds, trash_seconds| Retention { grace_seconds, trash_seconds };
        assert_eq!(of(1, 5).longest(of(2, 3)), of(2, 5));
    }
}
