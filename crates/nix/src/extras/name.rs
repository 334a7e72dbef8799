//! The names under which a cache serves these files.

use std::fmt;

use super::{BuildId, ExtraError};
use crate::hash_part::HashPart;
use crate::realisation::{BuildTraceKey, DrvOutput};
use crate::store_path::StorePath;
use crate::text::excerpt;

/// A file that a cache serves beside an artifact's narinfo and NAR, by its name. Whatever a stranger asks for or says is
/// parsed into this before it becomes a name on a disk: there is one canonical name for each file, and it leads nowhere
/// else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// `<hash part>.ls`: what stands in the artifact.
    Listing(HashPart),
    /// `log/<derivation>`: what its build wrote. The path is a derivation's.
    Log(StorePath),
    /// `debuginfo/<build id>`: in which NAR its debug information stands.
    DebugInfo(BuildId),
    /// `realisations/<derivation hash>!<output>.doi`: which path the output is, for Nix up to 2.34.
    Realisation(DrvOutput),
    /// `build-trace-v2/<derivation>/<output>.doi`: the same for Nix from 2.35 on.
    BuildTrace(BuildTraceKey),
}

/// The kinds of such files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExtraKind {
    /// See [`Extra::Listing`].
    Listing,
    /// See [`Extra::Log`].
    Log,
    /// See [`Extra::DebugInfo`].
    DebugInfo,
    /// See [`Extra::Realisation`].
    Realisation,
    /// See [`Extra::BuildTrace`].
    BuildTrace,
}

impl ExtraKind {
    /// All kinds.
    pub const ALL: [Self; 5] =
        [Self::Listing, Self::Log, Self::DebugInfo, Self::Realisation, Self::BuildTrace];

    /// The kind in kebab case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Listing => "listing",
            Self::Log => "log",
            Self::DebugInfo => "debuginfo",
            Self::Realisation => "realisation",
            Self::BuildTrace => "build-trace",
        }
    }
}

impl fmt::Display for ExtraKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Extra {
    /// The log of a derivation.
    pub fn log(derivation: StorePath) -> Result<Self, ExtraError> {
        if derivation.name().strip_suffix(".drv").is_none() {
            return Err(ExtraError::Derivation { path: derivation.to_string() });
        }
        Ok(Self::Log(derivation))
    }

    /// Reads a name in a cache, after percent-decoding and without the first slash. A build id may be followed by
    /// `.debug`, as `nix copy` writes it.
    pub fn parse(name: &str) -> Result<Self, ExtraError> {
        let unknown = || ExtraError::Name { name: excerpt(name) };
        let Some((directory, rest)) = name.split_once('/') else {
            return Ok(Self::Listing(name.strip_suffix(".ls").ok_or_else(unknown)?.parse()?));
        };
        match directory {
            "log" => Self::log(StorePath::parse_base_name(rest)?),
            "debuginfo" => Ok(Self::DebugInfo(rest.strip_suffix(".debug").unwrap_or(rest).parse()?)),
            "realisations" => Ok(Self::Realisation(rest.strip_suffix(".doi").ok_or_else(unknown)?.parse()?)),
            "build-trace-v2" => Ok(Self::BuildTrace(BuildTraceKey::from_file_name(name)?)),
            _ => Err(unknown()),
        }
    }

    /// The canonical name of the file in a cache.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self {
            Self::Listing(hash) => format!("{hash}.ls"),
            Self::Log(derivation) => format!("log/{}", derivation.base_name()),
            Self::DebugInfo(id) => format!("debuginfo/{id}"),
            Self::Realisation(id) => id.file_name(),
            Self::BuildTrace(key) => key.file_name(),
        }
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ExtraKind {
        match self {
            Self::Listing(_) => ExtraKind::Listing,
            Self::Log(_) => ExtraKind::Log,
            Self::DebugInfo(_) => ExtraKind::DebugInfo,
            Self::Realisation(_) => ExtraKind::Realisation,
            Self::BuildTrace(_) => ExtraKind::BuildTrace,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HASH: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la";
    const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

    #[test]
    fn each_kind_has_one_name() {
        let build_id = &HEX[..40];
        let names = [
            format!("{HASH}.ls"),
            format!("log/{HASH}-a.drv"),
            format!("debuginfo/{build_id}"),
            format!("realisations/sha256:{HEX}!out.doi"),
            format!("build-trace-v2/{HASH}-a.drv/out.doi"),
        ];
        for (name, kind) in names.iter().zip(ExtraKind::ALL) {
            let extra = Extra::parse(name).unwrap();
            assert_eq!((&extra.file_name(), extra.kind()), (name, kind));
        }
        assert_eq!(Extra::parse(&format!("{}.debug", names[2])).unwrap().file_name(), names[2]);
        let hash: crate::Hash = format!("sha256:{HEX}").parse().unwrap();
        let other = format!("realisations/sha256:{}!out.doi", hash.to_nix32());
        assert_eq!(Extra::parse(&other).unwrap().file_name(), names[3], "another notation of the hash");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_none() {
        for name in [
            "",
            ".ls",
            "nix-cache-info",
            &format!("{HASH}.narinfo"),
            &format!("{HASH}.ls/"),
            &format!("../{HASH}.ls"),
            &format!("nar/{HASH}.ls"),
            "log/",
            &format!("log/{HASH}-a"),
            "log/../nix-cache-info",
            &format!("log/{HASH}-a.drv/../../x"),
            &format!("log/{HASH}-a%2f.drv"),
            "debuginfo/..",
            "debuginfo/../x",
            &format!("debuginfo/{HEX}"),
            &format!("realisations/sha256:{HEX}!out"),
            &format!("realisations/sha256:{HEX}%21out.doi"),
            &format!("realisations/sha256:{HEX}!../out.doi"),
            &format!("build-trace-v2/{HASH}-a.drv"),
            &format!("build-trace-v2/{HASH}-a.drv/../x.doi"),
        ] {
            assert!(Extra::parse(name).is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_one_name_below_the_cache(
            name in "(log|debuginfo|realisations|build-trace-v2)?/?[0-9a-f./!:%~-]{0,70}(\\.ls|\\.drv|\\.doi)?",
        ) {
            if let Ok(extra) = Extra::parse(&name) {
                let file = extra.file_name();
                let safe = file.split('/').all(|part| !matches!(part, "" | "." | ".."));
                prop_assert!(safe, "{}", file);
                prop_assert_eq!(Extra::parse(&file), Ok(extra));
            }
        }
    }
}
