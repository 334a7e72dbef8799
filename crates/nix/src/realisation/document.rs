//! The document of Nix up to 2.34.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::sigs::{self, RawSig};
use super::{DrvOutput, MAX_TEXT, RealisationError};
use crate::signature::Signature;
use crate::store_path::StorePath;

/// Says that an output of a derivation is a path: a file below `realisations/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realisation {
    /// The output.
    pub id: DrvOutput,
    /// The path.
    pub out_path: StorePath,
    /// The outputs that it was built from, and which paths those were.
    pub dependencies: BTreeMap<DrvOutput, StorePath>,
    /// Well-formed signatures over [`Self::signed_text`].
    pub sigs: Vec<Signature>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    id: String,
    out_path: String,
    #[serde(default)]
    dependent_realisations: BTreeMap<String, String>,
    #[serde(default)]
    signatures: Vec<RawSig>,
}

impl Realisation {
    /// Reads a document. Fields that are not known are ignored.
    pub fn parse(text: &[u8]) -> Result<Self, RealisationError> {
        if text.len() > MAX_TEXT {
            return Err(RealisationError::TooLarge { length: text.len() });
        }
        let Raw { id, out_path, dependent_realisations, signatures } = serde_json::from_slice(text)?;
        let dependency = |(id, path): (String, String)| -> Result<_, RealisationError> {
            Ok((id.parse()?, StorePath::parse_base_name(&path)?))
        };
        Ok(Self {
            id: id.parse()?,
            out_path: StorePath::parse_base_name(&out_path)?,
            dependencies: dependent_realisations.into_iter().map(dependency).collect::<Result<_, _>>()?,
            sigs: sigs::well_formed(signatures),
        })
    }

    /// What the signatures are over: the compact document without them.
    #[must_use]
    pub fn signed_text(&self) -> String {
        let Self { id, out_path, dependencies, sigs: _ } = self;
        let dependency =
            |(id, path): (&DrvOutput, &StorePath)| (id.to_string(), Value::from(path.base_name()));
        let dependencies: serde_json::Map<_, _> = dependencies.iter().map(dependency).collect();
        // Keys come out in the order of their bytes, as Nix writes them.
        json!({"dependentRealisations": dependencies, "id": id, "outPath": out_path.base_name()}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{key, store_path};
    use crate::{Hash, PublicKeys};

    const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

    fn unsigned() -> String {
        format!(
            "{{\"dependentRealisations\":{{}},\"id\":\"sha256:{HEX}!out\",\
             \"outPath\":\"rbmc5ab768g5prim3mgyw9dfd8yl53v7-cahello\",\"signatures\":[]}}"
        )
    }

    #[test]
    fn the_document_of_nix_2_8() {
        let realisation = Realisation::parse(unsigned().as_bytes()).unwrap();
        assert_eq!(realisation.out_path.name(), "cahello");
        assert_eq!(realisation.id.output(), "out");
        assert_eq!(realisation.signed_text(), unsigned().replace(",\"signatures\":[]", ""));
        assert!(realisation.sigs.is_empty());
    }

    #[test]
    fn a_signature_in_either_notation_holds() {
        let signed_text = Realisation::parse(unsigned().as_bytes()).unwrap().signed_text();
        let sig = key(1).sign(&signed_text).to_string();
        let (name, digits) = sig.split_once(':').unwrap();
        let keys: PublicKeys = [key(1).public_key()].into_iter().collect();
        for sig in [format!("\"{sig}\""), format!("{{\"keyName\":\"{name}\",\"sig\":\"{digits}\"}}")] {
            let text = unsigned().replace("[]", &format!("[\"nonsense\",{sig}]"));
            let mut realisation = Realisation::parse(text.as_bytes()).unwrap();
            assert_eq!(keys.verify_text(&realisation.signed_text(), &realisation.sigs), Ok("key-1"));
            realisation.id = DrvOutput { drv_hash: Hash::of(b""), output: "out".into() };
            assert!(keys.verify_text(&realisation.signed_text(), &realisation.sigs).is_err());
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        let error =
            |from: &str, to: &str| Realisation::parse(unsigned().replace(from, to).as_bytes()).unwrap_err();
        assert!(matches!(error("\"id\"", "\"ID\""), RealisationError::Json { .. }));
        assert!(matches!(error("!out", ""), RealisationError::Id { .. }));
        assert!(matches!(error("-cahello", ""), RealisationError::StorePath(_)));
        assert!(matches!(
            error("{}", &format!("{{\"sha256:{HEX}!x/y\":\"\"}}")),
            RealisationError::Output { .. }
        ));
        let long = vec![b' '; MAX_TEXT + 1];
        assert_eq!(Realisation::parse(&long), Err(RealisationError::TooLarge { length: long.len() }));
    }

    proptest! {
        #[test]
        fn round_trip(
            outputs in prop::collection::vec((any::<[u8; 32]>(), "[a-z]{1,5}", store_path()), 1..5),
        ) {
            let output = |(hash, output, path)| (DrvOutput { drv_hash: Hash::from_bytes(hash), output }, path);
            let mut outputs = outputs.into_iter().map(output);
            let (id, out_path) = outputs.next().unwrap();
            let realisation = Realisation { id, out_path, dependencies: outputs.collect(), sigs: Vec::new() };
            prop_assert_eq!(Realisation::parse(realisation.signed_text().as_bytes()), Ok(realisation));
        }

        #[test]
        fn never_panics(text in r#"\{"id":"(sha256:)?[0-9a-f!]{0,70}","\PC{0,40}"#) {
            let _ = Realisation::parse(text.as_bytes());
        }
    }
}
