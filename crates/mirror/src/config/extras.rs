//! What is kept beside the artifacts.

use granary_nix::ExtraKind;
use serde::{Deserialize, Serialize};

/// Which files beside narinfos and NARs are mirrored with their artifact and answered on a miss. What is not is answered
/// only when it is in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Extras {
    /// `<hash>.ls`.
    pub listings: Listings,
    /// `log/`.
    pub logs: bool,
    /// `debuginfo/`; made from the NARs of artifacts that are named as `separateDebugInfo` names them.
    pub debuginfo: bool,
    /// `realisations/` and `build-trace-v2/`.
    pub realisations: bool,
}

/// Where listings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Listings {
    /// From the upstreams that have them.
    #[default]
    Mirror,
    /// From the upstreams, and where they have none from the NAR, which is read for it.
    Make,
    /// There are none.
    Never,
}

impl Default for Extras {
    fn default() -> Self {
        Self { listings: Listings::Mirror, logs: true, debuginfo: true, realisations: true }
    }
}

impl Extras {
    /// Whether files of this kind are kept.
    #[must_use]
    pub fn has(self, kind: ExtraKind) -> bool {
        let Self { listings, logs, debuginfo, realisations } = self;
        match kind {
            ExtraKind::Listing => listings != Listings::Never,
            ExtraKind::Log => logs,
            ExtraKind::DebugInfo => debuginfo,
            ExtraKind::Realisation | ExtraKind::BuildTrace => realisations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn extras(yaml: &str) -> Result<Extras, String> {
        let config = format!(
            "directory: /srv/granary\nupstreams: [{{url: 'https://x', publicKeys: ['cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=']}}]\n\
             storePaths: [/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0]\n{yaml}"
        );
        Config::parse(&config).map(|config| config.extras).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_is_mirrored_unless_said_otherwise() {
        let all = Extras { listings: Listings::Mirror, logs: true, debuginfo: true, realisations: true };
        assert_eq!(extras(""), Ok(all));
        assert_eq!(extras("extras: {}\n"), Ok(all));
        let made = Extras { listings: Listings::Make, logs: false, ..all };
        assert_eq!(extras("extras: {listings: Make, logs: false}\n"), Ok(made));
        for (bad, word) in [("listings: Some", "Mirror"), ("log: true", "log"), ("logs: maybe", "logs")] {
            let error = extras(&format!("extras: {{{bad}}}\n")).unwrap_err();
            assert!(error.contains(word), "{bad}: {error}");
        }
    }
}
