//! The document of Nix from 2.35 on.

use serde::Deserialize;
use serde_json::json;

use super::drv_output::check_output;
use super::sigs::{self, RawSig};
use super::{MAX_TEXT, RealisationError};
use crate::signature::Signature;
use crate::store_path::StorePath;
use crate::text::excerpt;

/// An output of a derivation, by the derivation's path. It is the name of a file and does not stand in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuildTraceKey {
    drv_path: StorePath,
    output: String,
}

/// Says which path an output of a derivation is: a file below `build-trace-v2/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildTraceEntry {
    /// The path.
    pub out_path: StorePath,
    /// Well-formed signatures over [`Self::signed_text`].
    pub sigs: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    out_path: String,
    #[serde(default)]
    signatures: Vec<RawSig>,
}

impl BuildTraceKey {
    /// That output of that derivation.
    pub fn new(drv_path: StorePath, output: &str) -> Result<Self, RealisationError> {
        if drv_path.name().strip_suffix(".drv").is_none() {
            return Err(RealisationError::Derivation { path: drv_path.to_string() });
        }
        check_output(output)?;
        Ok(Self { drv_path, output: output.to_owned() })
    }

    /// Reads the name of a file in a cache, after percent-decoding.
    pub fn from_file_name(name: &str) -> Result<Self, RealisationError> {
        let (derivation, output) = name
            .strip_prefix("build-trace-v2/")
            .and_then(|rest| rest.strip_suffix(".doi"))
            .and_then(|rest| rest.split_once('/'))
            .ok_or_else(|| RealisationError::FileName { name: excerpt(name) })?;
        Self::new(StorePath::parse_base_name(derivation)?, output)
    }

    /// The name of its file in a cache.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("build-trace-v2/{}/{}.doi", self.drv_path.base_name(), self.output)
    }
}

impl BuildTraceEntry {
    /// Reads a document. Fields that are not known are ignored.
    pub fn parse(text: &[u8]) -> Result<Self, RealisationError> {
        if text.len() > MAX_TEXT {
            return Err(RealisationError::TooLarge { length: text.len() });
        }
        let Raw { out_path, signatures } = serde_json::from_slice(text)?;
        Ok(Self { out_path: StorePath::parse_base_name(&out_path)?, sigs: sigs::well_formed(signatures) })
    }

    /// What the signatures are over, when this is the entry of `key`.
    #[must_use]
    pub fn signed_text(&self, key: &BuildTraceKey) -> String {
        let BuildTraceKey { drv_path, output } = key;
        let key = json!({"drvPath": drv_path.base_name(), "outputName": output});
        json!({"key": key, "value": {"outPath": self.out_path.base_name()}}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PublicKeys;
    use crate::testing;

    const DRV: &str = "342j0k7izm42zawjxk4hfsqsv88s5795-cahello.drv";
    const OUT: &str = "rbmc5ab768g5prim3mgyw9dfd8yl53v7-cahello";

    fn key() -> BuildTraceKey {
        BuildTraceKey::new(StorePath::parse_base_name(DRV).unwrap(), "out").unwrap()
    }

    #[test]
    fn the_name_of_the_file_is_the_key() {
        let name = format!("build-trace-v2/{DRV}/out.doi");
        assert_eq!(BuildTraceKey::from_file_name(&name), Ok(key()));
        assert_eq!(key().file_name(), name);
        let error = |name: &str| BuildTraceKey::from_file_name(name).unwrap_err();
        for name in ["", "realisations/x!out.doi", "build-trace-v2/out.doi", &name.replace(".doi", "")] {
            assert!(matches!(error(name), RealisationError::FileName { .. }), "{name}");
        }
        assert!(matches!(error(&name.replace("/out", "/../out")), RealisationError::Output { .. }));
        assert!(matches!(error(&name.replace(".drv", "")), RealisationError::Derivation { .. }));
        assert!(matches!(error("build-trace-v2/x.drv/out.doi"), RealisationError::StorePath(_)));
    }

    #[test]
    fn a_signature_binds_path_and_key() {
        let unsigned = format!("{{\"outPath\":\"{OUT}\",\"signatures\":[]}}");
        let entry = BuildTraceEntry::parse(unsigned.as_bytes()).unwrap();
        assert_eq!(
            entry.signed_text(&key()),
            format!(
                "{{\"key\":{{\"drvPath\":\"{DRV}\",\"outputName\":\"out\"}},\"value\":{{\"outPath\":\"{OUT}\"}}}}"
            )
        );
        let sig = testing::key(1).sign(&entry.signed_text(&key())).to_string();
        let (name, digits) = sig.split_once(':').unwrap();
        let keys: PublicKeys = [testing::key(1).public_key()].into_iter().collect();
        for sig in [format!("\"{sig}\""), format!("{{\"keyName\":\"{name}\",\"sig\":\"{digits}\"}}")] {
            let entry =
                BuildTraceEntry::parse(unsigned.replace("[]", &format!("[{sig}]")).as_bytes()).unwrap();
            assert_eq!(keys.verify_text(&entry.signed_text(&key()), &entry.sigs), Ok("key-1"));
            let other = BuildTraceKey { output: "dev".into(), ..key() };
            assert!(keys.verify_text(&entry.signed_text(&other), &entry.sigs).is_err());
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error = |text: &str| BuildTraceEntry::parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error("{}"), RealisationError::Json { .. }));
        assert!(matches!(error("{\"outPath\":\"/nix/store/x\"}"), RealisationError::StorePath(_)));
        assert!(matches!(error(&" ".repeat(MAX_TEXT + 1)), RealisationError::TooLarge { .. }));
    }

    proptest! {
        #[test]
        fn never_panics(text in r#"\{"outPath":"[0-9a-z-]{0,40}"\PC{0,40}"#, name in "(build-trace-v2/)?\\PC{0,60}") {
            let _ = BuildTraceEntry::parse(text.as_bytes());
            let _ = BuildTraceKey::from_file_name(&name);
        }
    }
}
