//! What a map must keep to before anything acts on it. A map comes from the network: its sizes are bounded, and its texts
//! are such that they can stand in an nginx configuration and in a narinfo's line.

use std::collections::BTreeSet;

use super::{
    MAX_CHANNELS, MAX_KEEP, MAX_MAP_BYTES, MAX_MIRRORS, MAX_POLICIES, MAX_STORE_PATHS, MAX_TARGET, Mirror,
    MirrorMap, Policy, TopologyKey,
};
use crate::name::{MirrorName, is_dns_label};

/// Why a map is refused.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// Larger than [`MAX_MAP_BYTES`].
    #[error("the map has {0} bytes; at most {MAX_MAP_BYTES} are read")]
    TooLarge(usize),
    /// Not the JSON of a map.
    #[error("the map cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A list is longer than it may be.
    #[error("{list} has {count} entries; at most {limit} are allowed")]
    TooMany {
        /// Which list.
        list: &'static str,
        /// How many it has.
        count: usize,
        /// How many it may have.
        limit: usize,
    },
    /// Two entries of a list have one name.
    #[error("{list} names {name:?} twice")]
    Repeated {
        /// Which list.
        list: &'static str,
        /// The repeated name.
        name: String,
    },
    /// A policy selects a mirror that is not in the map.
    #[error("policy {policy:?} selects the mirror {mirror}, which is not in the map")]
    UnknownMirror {
        /// The policy.
        policy: String,
        /// What it selects.
        mirror: MirrorName,
    },
    /// A text or a number is not what the field takes.
    #[error("{field} of {owner:?} is {value:?}; it must be {rule}")]
    Field {
        /// Which mirror, policy or namespace.
        owner: String,
        /// Which field.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// This machine computes another placement from the map than its writer did.
    #[error(
        "the map's table hash is {stated}, but its placement computed here has {computed}: \
         the operator and this mirror are of versions that place differently; run one version"
    )]
    TableHash {
        /// What the map says.
        stated: String,
        /// What follows from its content.
        computed: String,
    },
}

impl MirrorMap {
    /// Reads a map and checks everything but the table hash, which [`crate::CompiledMap`] checks.
    pub fn from_json(json: &[u8]) -> Result<Self, MapError> {
        if json.len() > MAX_MAP_BYTES {
            return Err(MapError::TooLarge(json.len()));
        }
        let map: Self = serde_json::from_slice(json)?;
        map.check()?;
        Ok(map)
    }

    /// Checks sizes, names and texts.
    pub fn check(&self) -> Result<(), MapError> {
        let Self { epoch: _, namespace, mirrors, policies, table_hash: _ } = self;
        if !is_dns_label(namespace) {
            return Err(field("the map", "namespace", namespace, "a DNS label"));
        }
        bounded("mirrors", mirrors.len(), MAX_MIRRORS)?;
        bounded("policies", policies.len(), MAX_POLICIES)?;
        let known = unique("mirrors", mirrors.iter().map(|mirror| mirror.name.as_str()))?;
        unique("policies", policies.iter().map(|policy| policy.name.as_str()))?;
        mirrors.iter().try_for_each(check_mirror)?;
        policies.iter().try_for_each(|policy| check_policy(policy, &known))
    }
}

fn check_mirror(mirror: &Mirror) -> Result<(), MapError> {
    let Mirror { name, disk, node, region, zone, organization, weight, url, internal_url, state: _ } = mirror;
    let labels =
        [("disk", disk), ("node", node), ("region", region), ("zone", zone), ("organization", organization)];
    for (label, value) in labels {
        if let Some(value) = value.as_deref().filter(|value| !is_label(value)) {
            return Err(field(name.as_str(), label, value, "1 to 253 visible ASCII characters"));
        }
    }
    for (label, value) in [("url", url.as_ref()), ("internalUrl", Some(internal_url))] {
        if let Some(value) = value.filter(|value| !is_url(value)) {
            let rule = "http:// or https:// with a host, at most 512 of the characters a-z A-Z 0-9 - . _ ~ : / [ ] @ % + =, \
                        and no slash at the end";
            return Err(field(name.as_str(), label, value, rule));
        }
    }
    if *weight == 0 {
        return Err(field(name.as_str(), "weight", "0", "at least 1"));
    }
    Ok(())
}

fn check_policy(policy: &Policy, known: &BTreeSet<&str>) -> Result<(), MapError> {
    let Policy { name, mirrors, target, spread, store_paths, channels, retention: _ } = policy;
    if !is_object_name(name) {
        return Err(field(name, "name", name, "a Kubernetes object name"));
    }
    bounded("a policy's mirrors", mirrors.len(), MAX_MIRRORS)?;
    bounded("a policy's storePaths", store_paths.len(), MAX_STORE_PATHS)?;
    unique("a policy's mirrors", mirrors.iter().map(MirrorName::as_str))?;
    if let Some(mirror) = mirrors.iter().find(|mirror| !known.contains(mirror.as_str())) {
        return Err(MapError::UnknownMirror { policy: name.clone(), mirror: mirror.clone() });
    }
    if !(1..=MAX_TARGET).contains(target) {
        return Err(field(name, "target", &target.to_string(), "1 to 8"));
    }
    let keys: Vec<TopologyKey> = spread.iter().map(|rule| rule.topology_key).collect();
    bounded("a policy's spread", keys.len(), 3)?;
    unique("a policy's spread", keys.iter().map(|key| key.as_str()))?;
    if let Some(rule) = spread.iter().find(|rule| !(1..=*target).contains(&rule.min)) {
        return Err(field(name, "spread min", &rule.min.to_string(), "1 to the policy's target"));
    }
    bounded("a policy's channels", channels.len(), MAX_CHANNELS)?;
    unique("a policy's channels", channels.iter().map(|channel| channel.url.as_str()))?;
    if let Some(channel) = channels.iter().find(|channel| !is_url(&channel.url) || !channel.is_named()) {
        let rule = "a URL that ends in the channel's name, as https://channels.nixos.org/nixos-26.05 does";
        return Err(field(name, "channel url", &channel.url, rule));
    }
    if let Some(channel) = channels.iter().find(|channel| !(1..=MAX_KEEP).contains(&channel.keep)) {
        return Err(field(name, "channel keep", &channel.keep.to_string(), "1 to 100"));
    }
    match store_paths.iter().find(|path| !is_store_path(path)) {
        Some(path) => Err(field(name, "storePaths", path, "full store paths")),
        None => Ok(()),
    }
}

fn bounded(list: &'static str, count: usize, limit: usize) -> Result<(), MapError> {
    if count > limit { Err(MapError::TooMany { list, count, limit }) } else { Ok(()) }
}

fn unique<'a>(
    list: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeSet<&'a str>, MapError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(MapError::Repeated { list, name: name.to_owned() });
        }
    }
    Ok(seen)
}

fn field(owner: &str, field: &'static str, value: &str, rule: &'static str) -> MapError {
    // A hostile value must not become a hostile log line.
    let value = value.chars().take(200).collect();
    MapError::Field { owner: owner.chars().take(253).collect(), field, value, rule }
}

fn is_label(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_object_name(text: &str) -> bool {
    (1..=253).contains(&text.len()) && text.split('.').all(is_dns_label)
}

/// No quote, blank, `$`, `;`, brace or backslash: the URL is written into nginx's configuration and into HTTP headers.
fn is_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    text.len() <= 512
        && rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']) && !rest.ends_with('/'))
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~:/[]@%+=".contains(&byte))
}

fn is_store_path(text: &str) -> bool {
    let name = text.strip_prefix("/nix/store/").unwrap_or_default();
    (34..=244).contains(&name.len())
        && name.as_bytes()[32] == b'-'
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._?=".contains(&byte))
}

#[cfg(test)]
mod tests;
