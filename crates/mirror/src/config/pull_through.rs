//! `pullThrough`: what clients ask for is kept too.

use serde::Deserialize;

use super::check::{Checked, field};
use super::size::Size;

/// Smallest space that makes sense, in bytes: below it hardly any NAR file would be kept.
const LEAST: u64 = 1 << 20;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPullThrough {
    pub max_size: Size,
}

/// What clients ask for is fetched, and kept as long as there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullThrough {
    /// The most bytes of NAR files that are kept only because a client asked for them.
    pub max_size: u64,
}

pub(super) fn check(raw: &RawPullThrough) -> Checked<PullThrough> {
    let RawPullThrough { max_size: Size(max_size) } = *raw;
    if max_size < LEAST {
        let problem =
            format!("{max_size} bytes would keep next to nothing; write at least 1Mi, such as 200Gi");
        return Err(field("pullThrough.maxSize", problem));
    }
    Ok(PullThrough { max_size })
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Wanted};

    const START: &str = "directory: /srv/granary\nupstreams:\n- {url: 'https://cache.nixos.org', publicKeys: \
                         ['cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=']}\n";

    #[test]
    fn a_mirror_may_want_nothing_but_what_clients_ask_for() {
        let config = Config::parse(&format!("{START}pullThrough: {{maxSize: 200Gi}}\n")).unwrap();
        assert_eq!(config.pull_through.unwrap().max_size, 200 << 30);
        assert!(matches!(config.wanted, Wanted::Roots(roots) if roots.is_empty()));
    }

    #[test]
    fn a_mistake_is_told() {
        for (yaml, what) in [
            ("pullThrough: {maxSize: 0}", "pullThrough.maxSize"),
            ("pullThrough: {maxSize: 1G}", "maxSize"),
            ("pullThrough: {}", "maxSize"),
            ("pullThrough: {size: 1Gi}", "size"),
        ] {
            let error = Config::parse(&format!("{START}{yaml}\n")).unwrap_err().to_string();
            assert!(error.contains(what), "{yaml}: {error}");
        }
    }
}
