//! The mirror map: which mirrors there are, what each policy asks of them, and the hash of the placement that follows.
//!
//! Fields that this version does not know are ignored. A state or a topology key that it does not know makes the map
//! unreadable, because it could not be honoured: a mirror then keeps the map it has.

mod check;
mod content;
mod wants;

use serde::{Deserialize, Serialize};

pub use check::MapError;
pub use wants::{Channel, Retention};

use crate::name::MirrorName;

/// Most mirrors in one map.
pub const MAX_MIRRORS: usize = 1000;
/// Most policies in one map.
pub const MAX_POLICIES: usize = 256;
/// Most roots in one policy.
pub const MAX_STORE_PATHS: usize = 1000;
/// Most channels in one policy.
pub const MAX_CHANNELS: usize = 50;
/// Most revisions of a channel that are kept.
pub const MAX_KEEP: u16 = 100;
/// Most copies that a policy can ask for.
pub const MAX_TARGET: u8 = 8;
/// Largest map that is read, in bytes of JSON.
pub const MAX_MAP_BYTES: usize = 8 << 20;
/// A mirror's weight when its capacity is not known: 1 TiB in GiB.
pub const DEFAULT_WEIGHT: u32 = 1024;

/// The mirror map of one namespace. In canonical form its lists are sorted, so that equal content has equal bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorMap {
    /// Counts up with each published change, from 1. No two different maps of a namespace have one epoch.
    pub epoch: u64,
    /// The Kubernetes namespace whose mirrors and policies these are.
    pub namespace: String,
    /// The mirrors, sorted by name.
    pub mirrors: Vec<Mirror>,
    /// The policies, sorted by name.
    pub policies: Vec<Policy>,
    /// Hex BLAKE3 over the compiled tables of all policies: whoever computes another placement from this map refuses it.
    pub table_hash: String,
}

/// One mirror: one holder with one disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// The mirror's name. Placement hashes it, so a renamed mirror is a new one.
    pub name: MirrorName,
    /// The id that the mirror keeps on its disk, learned from its first report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    /// The Kubernetes node that the mirror is pinned to, when its data is in a path of that node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The region it stands in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The zone it stands in. Zones are compared by name alone: give zones of different regions different names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The organization that runs it; copies in one organization fail together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Its share of copies against others of its zone, and its zone's against other zones: the capacity in GiB, at least 1.
    #[serde(default = "default_weight")]
    pub weight: u32,
    /// The URL that clients reach it by, without a trailing slash. Without one it is not named in Mirrors entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The URL that other mirrors copy from, without a trailing slash.
    pub internal_url: String,
    /// Whether clients are sent there. Placement does not depend on it.
    pub state: MirrorState,
}

fn default_weight() -> u32 {
    DEFAULT_WEIGHT
}

/// Whether a mirror answers. Placement ignores it: a mirror that is away for an hour keeps its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MirrorState {
    /// It has not yet reported, or not yet with this map and everything it holds.
    Joining,
    /// It answers; it is named in Mirrors entries.
    Serving,
    /// It has stopped answering.
    Unreachable,
}

impl MirrorState {
    /// The state as it is written in the map and in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Serving => "serving",
            Self::Unreachable => "unreachable",
        }
    }
}

/// What one `ReplicationPolicy` asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// The policy's name, unique in the namespace.
    pub name: String,
    /// The mirrors that it selects, sorted.
    pub mirrors: Vec<MirrorName>,
    /// How many copies of each artifact it wants, 1 to [`MAX_TARGET`].
    pub target: u8,
    /// Over how many domains the copies spread at least, sorted by key, one rule for each key.
    #[serde(default)]
    pub spread: Vec<Spread>,
    /// The roots, full store paths, sorted; their closure is what is placed.
    #[serde(default)]
    pub store_paths: Vec<String>,
    /// Channels, sorted by URL: what their kept revisions list are roots too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub channels: Vec<Channel>,
    /// How long artifacts stay that no policy wants any more; without it they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
}

/// The copies of an artifact stand in at least `min` different domains of the kind `topology_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spread {
    /// The kind of domain.
    pub topology_key: TopologyKey,
    /// How many different ones, 1 to the policy's target.
    pub min: u8,
}

/// A kind of failure domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TopologyKey {
    /// [`Mirror::zone`].
    Zone,
    /// [`Mirror::region`].
    Region,
    /// [`Mirror::organization`].
    Organization,
}

impl TopologyKey {
    /// The key as it is written in the map and in a policy.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Region => "region",
            Self::Organization => "organization",
        }
    }
}

impl Mirror {
    /// A joining mirror of which nothing else is known: what an entry without its optional fields is read as.
    #[must_use]
    pub fn new(name: MirrorName, internal_url: impl Into<String>) -> Self {
        Self {
            name,
            disk: None,
            node: None,
            region: None,
            zone: None,
            organization: None,
            weight: DEFAULT_WEIGHT,
            url: None,
            internal_url: internal_url.into(),
            state: MirrorState::Joining,
        }
    }

    /// The mirror's domain of this kind. One without the label is in no domain: what is not known proves no spread.
    #[must_use]
    pub fn domain(&self, key: TopologyKey) -> Option<&str> {
        match key {
            TopologyKey::Zone => self.zone.as_deref(),
            TopologyKey::Region => self.region.as_deref(),
            TopologyKey::Organization => self.organization.as_deref(),
        }
    }
}

impl MirrorMap {
    /// The mirror of this name.
    #[must_use]
    pub fn mirror(&self, name: &str) -> Option<&Mirror> {
        self.mirrors.iter().find(|mirror| mirror.name.as_str() == name)
    }

    /// The policies that select this mirror.
    pub fn policies_of(&self, mirror: &MirrorName) -> impl Iterator<Item = &Policy> {
        self.policies.iter().filter(move |policy| policy.mirrors.contains(mirror))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A map that uses every field.
    pub(crate) fn sample() -> MirrorMap {
        let mirror = |name: &str, zone: &str| Mirror {
            name: name.parse().unwrap(),
            disk: Some("0123456789abcdef0123456789abcdef".into()),
            node: Some("node-1.example".into()),
            region: Some("eu".into()),
            zone: Some(zone.into()),
            organization: Some("uni".into()),
            weight: 512,
            url: Some(format!("https://{name}.example.edu")),
            internal_url: format!("http://{name}.granary.svc:80"),
            state: MirrorState::Serving,
        };
        let policy = |name: &str| Policy {
            name: name.into(),
            mirrors: vec!["east-0".parse().unwrap(), "north-0".parse().unwrap()],
            target: 2,
            spread: vec![
                Spread { topology_key: TopologyKey::Zone, min: 2 },
                Spread { topology_key: TopologyKey::Region, min: 1 },
            ],
            store_paths: vec![
                "/nix/store/00000000000000000000000000000000-a".into(),
                "/nix/store/11111111111111111111111111111111-b".into(),
            ],
            channels: vec![Channel { url: "https://channels.nixos.org/nixos-26.05".into(), keep: 3 }],
            retention: Some(Retention { grace_seconds: 14 * 86_400, trash_seconds: 7 * 86_400 }),
        };
        MirrorMap {
            epoch: 7,
            namespace: "granary".into(),
            mirrors: vec![mirror("east-0", "east"), mirror("north-0", "north")],
            policies: vec![policy("one"), policy("two")],
            table_hash: String::new(),
        }
    }

    #[test]
    fn a_new_mirror_is_what_an_entry_says_that_leaves_the_rest_out() {
        let entry = r#"{"name": "a", "internalUrl": "http://a", "state": "joining"}"#;
        let read: Mirror = serde_json::from_str(entry).unwrap();
        assert_eq!(Mirror::new("a".parse().unwrap(), "http://a"), read);
    }

    #[test]
    fn the_sample_is_a_map_that_can_be_read_back() {
        let map = sample();
        assert_eq!(MirrorMap::from_json(&map.to_json()).unwrap(), map);
        let names: Vec<&str> =
            map.policies_of(&map.mirrors[0].name).map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["one", "two"]);
        assert_eq!(map.mirror("north-0").and_then(|mirror| mirror.domain(TopologyKey::Zone)), Some("north"));
    }
}
