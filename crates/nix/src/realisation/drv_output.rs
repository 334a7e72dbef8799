//! An output of a derivation, by the derivation's hash.

use std::fmt;
use std::str::FromStr;

use super::RealisationError;
use crate::hash::Hash;
use crate::text::{excerpt, serde_as_string};

/// `sha256:<hex>!<output>`: an output of every derivation that differs in nothing that matters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DrvOutput {
    /// Nix's hash of the derivation, modulo what its inputs are named.
    pub drv_hash: Hash,
    /// The output's name, `out` mostly.
    pub(super) output: String,
}

impl DrvOutput {
    /// The output's name.
    #[must_use]
    pub fn output(&self) -> &str {
        &self.output
    }

    /// The name of its file in a cache, with a bare `!`, as most clients ask for it.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("realisations/{self}.doi")
    }
}

/// Checks the name of an output: it becomes a part of a store path's name and of a file's.
pub(super) fn check_output(name: &str) -> Result<(), RealisationError> {
    /// Leaves room for the hash part in a file name.
    const MAX: usize = 211;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    if name.is_empty() || name.len() > MAX || matches!(name, "." | "..") || !name.chars().all(allowed) {
        return Err(RealisationError::Output { name: excerpt(name) });
    }
    Ok(())
}

impl FromStr for DrvOutput {
    type Err = RealisationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (hash, output) =
            text.split_once('!').ok_or_else(|| RealisationError::Id { text: excerpt(text) })?;
        check_output(output)?;
        Ok(Self { drv_hash: hash.parse()?, output: output.to_owned() })
    }
}

impl fmt::Display for DrvOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}!{}", self.drv_hash.to_hex(), self.output)
    }
}

serde_as_string!(DrvOutput);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_in_hex() {
        let hex = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";
        let id: DrvOutput = format!("sha256:{hex}!out").parse().unwrap();
        assert_eq!(id.output(), "out");
        assert_eq!(id.to_string(), format!("sha256:{hex}!out"));
        assert_eq!(id.file_name(), format!("realisations/sha256:{hex}!out.doi"));
        assert_eq!(format!("{}!out", id.drv_hash).parse(), Ok(id));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let hash = Hash::of(b"");
        for output in ["", ".", "..", "a/b", "a!b", "a b", "é", &"n".repeat(212)] {
            let error = format!("{hash}!{output}").parse::<DrvOutput>().unwrap_err();
            assert!(matches!(error, RealisationError::Output { .. }), "{output}: {error}");
        }
        assert!(matches!("out".parse::<DrvOutput>(), Err(RealisationError::Id { .. })));
        assert!(matches!("sha256:00!out".parse::<DrvOutput>(), Err(RealisationError::Hash(_))));
    }
}
