//! `channels`: revisions of channels that are kept here.

use std::collections::BTreeSet;

use serde::Deserialize;
use url::Url;

use super::check::{Checked, field, web_url};

const MAX_CHANNELS: usize = 50;
const MAX_KEEP: u16 = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawChannel {
    pub url: String,
    #[serde(default = "keep")]
    pub keep: u16,
}

fn keep() -> u16 {
    1
}

/// One channel: `<url>/store-paths.xz` lists the store paths of its newest revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The last part of the URL: `nixos-26.05`.
    pub name: String,
    /// Its URL, without a final slash.
    pub url: Url,
    /// How many revisions are kept, at least 1.
    pub keep: usize,
}

pub(super) fn check(raw: &[RawChannel]) -> Checked<Vec<Channel>> {
    if raw.len() > MAX_CHANNELS {
        return Err(field("channels", format!("{} are too many; {MAX_CHANNELS} are allowed", raw.len())));
    }
    let mut names = BTreeSet::new();
    let mut channels = Vec::with_capacity(raw.len());
    for (index, RawChannel { url, keep }) in raw.iter().enumerate() {
        let at = |rest: &str| format!("channels[{index}].{rest}");
        let text = url.trim_end_matches('/');
        let url = web_url(&at("url"), text)?;
        let name = text.rsplit('/').next().unwrap_or_default().to_owned();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if url.path() == "/" || !plain || name.starts_with('.') || name.len() > 100 {
            let hint = "the last part of the URL must be the channel's name, as in https://channels.nixos.org/nixos-26.05";
            return Err(field(at("url"), hint));
        }
        if !names.insert(name.clone()) {
            return Err(field(at("url"), format!("there is another channel with the name {name}")));
        }
        if !(1..=MAX_KEEP).contains(keep) {
            return Err(field(at("keep"), format!("{keep} is not between 1 and {MAX_KEEP}")));
        }
        channels.push(Channel { name, url, keep: usize::from(*keep) });
    }
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Wanted};

    const START: &str = "directory: /srv/granary\nupstreams:\n- {url: 'https://cache.nixos.org', publicKeys: \
                         ['cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=']}\n";

    #[test]
    fn a_channel_is_named_by_its_url() {
        let yaml =
            "channels:\n- {url: 'https://channels.nixos.org/nixos-26.05/', keep: 3}\n- {url: 'http://x/y'}\n";
        let config = Config::parse(&format!("{START}{yaml}")).unwrap();
        let channels: Vec<_> =
            config.channels.iter().map(|it| (it.name.as_str(), it.url.as_str(), it.keep)).collect();
        let expected = [("nixos-26.05", "https://channels.nixos.org/nixos-26.05", 3), ("y", "http://x/y", 1)];
        assert_eq!(channels, expected);
        assert!(matches!(config.wanted, Wanted::Roots(roots) if roots.is_empty()));
    }

    #[test]
    fn mistakes_are_told() {
        for (yaml, what) in [
            ("[{url: 'ftp://x/y'}]", "channels[0].url"),
            ("[{url: 'https://x'}]", "name"),
            ("[{url: 'https://x/..'}]", "name"),
            ("[{url: 'https://x/y', keep: 0}]", "channels[0].keep"),
            ("[{url: 'https://x/y'}, {url: 'https://z/y'}]", "channels[1].url"),
            ("[{url: 'https://x/y', revisions: 2}]", "revisions"),
        ] {
            let error = Config::parse(&format!("{START}channels: {yaml}\n")).unwrap_err().to_string();
            assert!(error.contains(what), "{yaml}: {error}");
        }
    }
}
