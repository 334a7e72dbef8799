//! `channels`: revisions of channels that are kept here.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use granary_nix::Hash;
use granary_placement as placement;
use serde::Deserialize;
use url::Url;

use super::check::{Checked, field, web_url};
use super::duration::Time;

const MAX_CHANNELS: usize = 50;
const MAX_KEEP: u16 = 100;
/// How often a list may be asked for.
const EVERY: RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(30 * 24);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawChannel {
    pub url: String,
    #[serde(default = "keep")]
    pub keep: u16,
    pub every: Option<Time>,
}

fn keep() -> u16 {
    1
}

/// One channel: `<url>/store-paths.xz` lists the store paths of its newest revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The last part of the URL: `nixos-26.05`.
    pub name: String,
    /// The folder in which its lists are kept.
    pub folder: String,
    /// Its URL, without a final slash.
    pub url: Url,
    /// How many revisions are kept, at least 1.
    pub keep: usize,
    /// How often its list is asked for; `None`: as often as those of all that do not say.
    pub every: Option<Duration>,
}

impl Channel {
    /// One that the mirror map names. Two of its channels can have one name, so their folders are named by the URL as well.
    #[must_use]
    pub fn of_map(channel: &placement::Channel) -> Option<Self> {
        let url = Url::parse(&channel.url).ok()?;
        let name = channel.name().to_owned();
        let digest = Hash::of(channel.url.as_bytes()).to_hex();
        let folder = format!("{name}@{}", &digest[..16]);
        Some(Self { name, folder, url, keep: usize::from(channel.keep), every: None })
    }
}

pub(super) fn check(raw: &[RawChannel]) -> Checked<Vec<Channel>> {
    if raw.len() > MAX_CHANNELS {
        return Err(field("channels", format!("{} are too many; {MAX_CHANNELS} are allowed", raw.len())));
    }
    let mut names = BTreeSet::new();
    let mut channels = Vec::with_capacity(raw.len());
    for (index, RawChannel { url, keep, every }) in raw.iter().enumerate() {
        let at = |rest: &str| format!("channels[{index}].{rest}");
        let text = url.trim_end_matches('/');
        let url = web_url(&at("url"), text)?;
        let name = text.rsplit('/').next().unwrap_or_default().to_owned();
        if !(placement::Channel { url: text.to_owned(), keep: *keep }).is_named() {
            let hint = "the last part of the URL must be the channel's name, as in https://channels.nixos.org/nixos-26.05";
            return Err(field(at("url"), hint));
        }
        if !names.insert(name.clone()) {
            return Err(field(at("url"), format!("there is another channel with the name {name}")));
        }
        if !(1..=MAX_KEEP).contains(keep) {
            return Err(field(at("keep"), format!("{keep} is not between 1 and {MAX_KEEP}")));
        }
        let every = every.map(|Time(every)| every);
        if every.is_some_and(|every| !EVERY.contains(&every)) {
            return Err(field(at("every"), "it is not between 1m and 30d"));
        }
        channels.push(Channel { folder: name.clone(), name, url, keep: usize::from(*keep), every });
    }
    Ok(channels)
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn how_often_a_list_is_asked_for_has_bounds() {
        let every = |text: &str| {
            let yaml = format!("{START}channels: [{{url: 'https://x/y', every: {text}}}]\n");
            Config::parse(&yaml).map(|config| config.channels[0].every)
        };
        assert_eq!(every("null").unwrap(), None);
        assert_eq!(every("1m").unwrap(), Some(Duration::from_mins(1)));
        assert_eq!(every("30d").unwrap(), Some(Duration::from_hours(30 * 24)));
        for bad in ["59s", "31d", "0s", "often"] {
            let error = every(bad).unwrap_err().to_string();
            assert!(error.contains("every") || error.contains("length of time"), "{bad}: {error}");
        }
    }

    #[test]
    fn channels_of_a_map_with_one_name_have_two_folders() {
        let of = |url: &str| Channel::of_map(&placement::Channel { url: url.into(), keep: 2 }).unwrap();
        let (one, other) = (of("https://a/nixos-26.05"), of("https://b/nixos-26.05"));
        assert_eq!((one.name.as_str(), one.keep), ("nixos-26.05", 2));
        assert_eq!(one.name, other.name);
        assert_ne!(one.folder, other.folder);
        assert!(one.folder.starts_with("nixos-26.05@"));
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
