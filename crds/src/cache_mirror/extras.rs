//! What a mirror keeps beside narinfos and NARs.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which files are mirrored with their artifact, and asked for where they are missing. What is not is served only if it is on the disk already.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Extras {
    /// Listings of the files in each artifact, `<hash>.ls`. `Mirror`: as the upstreams have them; `Make`: made from the NAR where no
    /// upstream has one; `Never`: none. Default: Mirror.
    #[serde(default)]
    pub listings: Listings,

    /// Build logs, for `nix log`. Default: true.
    #[serde(default = "default_kept")]
    pub logs: bool,

    /// The index of debug information, for debuginfod. Default: true.
    #[serde(default = "default_kept")]
    pub debuginfo: bool,

    /// What content-addressed derivations turned out to be: realisations and build traces. Default: true.
    #[serde(default = "default_kept")]
    pub realisations: bool,
}

/// Where listings come from.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listings {
    /// From the upstreams that have them.
    #[default]
    Mirror,
    /// From the upstreams, and where they have none from the NAR.
    Make,
    /// There are none.
    Never,
}

fn default_kept() -> bool {
    true
}

// === impl Listings ===

impl Listings {
    /// The name that the mirror's configuration file uses.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mirror => "Mirror",
            Self::Make => "Make",
            Self::Never => "Never",
        }
    }
}
