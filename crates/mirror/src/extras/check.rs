//! What a file must be before it is served. Pure.
//!
//! None of these files is signed as a narinfo is, and a log cannot be checked at all. What is checked is that a reader is
//! not led astray: shape, bounds, names, and signatures where there are any.

use granary_nix::listing::{ListingError, Outline};
use granary_nix::realisation::{BuildTraceEntry, Realisation, RealisationError};
use granary_nix::{
    DebugInfo, Extra, ExtraError, ExtraKind, HashPart, PublicKey, PublicKeys, Signature, Trust, Untrusted,
    extras, realisation,
};

/// The most bytes that a file of this kind may have.
#[must_use]
pub const fn most_bytes(kind: ExtraKind) -> u64 {
    match kind {
        // 400,000 files with names of usual lengths. It is held in memory while it is checked.
        ExtraKind::Listing => 32 << 20,
        // It never is.
        ExtraKind::Log => 256 << 20,
        ExtraKind::DebugInfo => extras::MAX_DEBUG_INFO as u64,
        ExtraKind::Realisation | ExtraKind::BuildTrace => realisation::MAX_TEXT as u64,
    }
}

/// What a good file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// A listing, and what it comes to.
    Listing(Outline),
    /// A log says whatever the build wrote.
    Log,
    /// An entry of the debug index. Its archive is a name of the upstream's.
    DebugInfo(DebugInfo),
    /// A realisation or a build trace: the artifact that the output is.
    Output(HashPart),
}

/// Why a file is not served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// No listing.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// A listing of something else.
    #[error("it lists a NAR of {listed} bytes, and the artifact's has {stated}")]
    OtherNar {
        /// Bytes of the NAR that it describes.
        listed: u64,
        /// Bytes of the NAR, as the signed narinfo says.
        stated: u64,
    },
    /// No entry of the debug index.
    #[error(transparent)]
    DebugInfo(#[from] ExtraError),
    /// No realisation.
    #[error(transparent)]
    Realisation(#[from] RealisationError),
    /// The realisation of another output.
    #[error("it is about {0}")]
    OtherOutput(String),
    /// It is said to be signed by a trusted key, and is not.
    #[error("the signature by trusted key {key_name} does not hold")]
    Signature {
        /// The key.
        key_name: String,
    },
}

/// Checks a file that came under the name `extra` from a source with these keys. `nar_size` is what the artifact's narinfo
/// says, where one is known. The text of a log is not looked at.
pub fn check(extra: &Extra, text: &[u8], keys: &PublicKeys, nar_size: Option<u64>) -> Result<Checked, Bad> {
    match extra {
        Extra::Listing(_) => {
            let outline = Outline::parse(text)?;
            match nar_size.filter(|stated| *stated != outline.nar_size) {
                Some(stated) => Err(Bad::OtherNar { listed: outline.nar_size, stated }),
                None => Ok(Checked::Listing(outline)),
            }
        }
        Extra::Log(_) => Ok(Checked::Log),
        Extra::DebugInfo(id) => Ok(Checked::DebugInfo(DebugInfo::parse(text, id)?)),
        Extra::Realisation(id) => {
            let realisation = Realisation::parse(text)?;
            if realisation.id != *id {
                return Err(Bad::OtherOutput(realisation.id.to_string()));
            }
            vouched(keys, &realisation.signed_text(), &realisation.sigs)?;
            Ok(Checked::Output(realisation.out_path.hash_part()))
        }
        Extra::BuildTrace(key) => {
            let entry = BuildTraceEntry::parse(text)?;
            vouched(keys, &entry.signed_text(key), &entry.sigs)?;
            Ok(Checked::Output(entry.out_path.hash_part()))
        }
    }
}

/// All keys by which a source's narinfos can count.
#[must_use]
pub fn keys_of(trust: &Trust) -> PublicKeys {
    let mut keys: Vec<PublicKey> = Vec::new();
    for key in trust.rules().iter().flat_map(|rule| rule.keys.as_slice()) {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys.into_iter().collect()
}

/// Nix takes realisations without a signature, and most have none; the artifact that one names is verified by itself. But
/// whoever claims a trusted key must have it.
fn vouched(keys: &PublicKeys, text: &str, sigs: &[Signature]) -> Result<(), Bad> {
    match keys.verify_text(text, sigs) {
        Err(Untrusted::BadSignature { key_name }) => Err(Bad::Signature { key_name }),
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use granary_nix::SecretKey;

    use super::*;

    const HASH: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la";
    const HEX: &str = "6c5822e05bbaef8c8ee3fe052b4a182496365912ca2925db92a8aa7afb072e60";

    fn key(seed: u8) -> SecretKey {
        SecretKey::from_seed("test-1", &[seed; 32]).unwrap()
    }

    fn checked(name: &str, text: &str) -> Result<Checked, Bad> {
        let keys = [key(1).public_key()].into_iter().collect();
        check(&Extra::parse(name).unwrap(), text.as_bytes(), &keys, Some(120))
    }

    #[test]
    fn a_listing_must_be_of_the_artifacts_nar() {
        let name = format!("{HASH}.ls");
        let listing = |size| format!(r#"{{"version":1,"root":{{"type":"regular","size":{size}}}}}"#);
        assert!(matches!(checked(&name, &listing(8)), Ok(Checked::Listing(_))));
        assert_eq!(checked(&name, &listing(9)), Err(Bad::OtherNar { listed: 128, stated: 120 }));
        assert!(matches!(checked(&name, "<html>"), Err(Bad::Listing(_))));
    }

    #[test]
    fn a_realisation_must_be_of_the_output_and_must_not_lie_about_its_key() {
        let name = format!("realisations/sha256:{HEX}!out.doi");
        let unsigned = format!(r#"{{"id":"sha256:{HEX}!out","outPath":"{HASH}-a","signatures":[]}}"#);
        let hash: HashPart = HASH.parse().unwrap();
        assert_eq!(checked(&name, &unsigned), Ok(Checked::Output(hash)));
        let signed = |key: &SecretKey| {
            let text = Realisation::parse(unsigned.as_bytes()).unwrap().signed_text();
            unsigned.replace("[]", &format!("[\"{}\"]", key.sign(&text)))
        };
        assert_eq!(checked(&name, &signed(&key(1))), Ok(Checked::Output(hash)));
        let stranger = SecretKey::from_seed("other-1", &[3; 32]).unwrap();
        assert_eq!(checked(&name, &signed(&stranger)), Ok(Checked::Output(hash)));
        let forged = checked(&name, &signed(&key(2)));
        assert_eq!(forged, Err(Bad::Signature { key_name: "test-1".into() }));
        let other = unsigned.replace("!out", "!dev");
        assert_eq!(checked(&name, &other), Err(Bad::OtherOutput(format!("sha256:{HEX}!dev"))));
        for wrong in ["[]", "{}", &unsigned.replace(HASH, "../../etc")] {
            assert!(matches!(checked(&name, wrong), Err(Bad::Realisation(_))), "{wrong}");
        }
    }

    #[test]
    fn a_build_trace_is_bound_to_its_name_by_its_signature() {
        let [name, other] = ["a", "b"].map(|name| format!("build-trace-v2/{HASH}-{name}.drv/out.doi"));
        let unsigned = format!(r#"{{"outPath":"{HASH}-a","signatures":[]}}"#);
        assert!(checked(&name, &unsigned).is_ok());
        let Extra::BuildTrace(of) = Extra::parse(&name).unwrap() else { panic!() };
        let text = BuildTraceEntry::parse(unsigned.as_bytes()).unwrap().signed_text(&of);
        let signed = unsigned.replace("[]", &format!("[\"{}\"]", key(1).sign(&text)));
        assert!(checked(&name, &signed).is_ok());
        assert!(matches!(checked(&other, &signed), Err(Bad::Signature { .. })));
    }

    #[test]
    fn a_debug_index_entry_leads_nowhere_else() {
        let id = &HEX[..40];
        let name = format!("debuginfo/{id}");
        let entry = |archive: &str, member: &str| format!(r#"{{"archive":"{archive}","member":"{member}"}}"#);
        let member = format!("lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]);
        let nar = "nar/x.nar.xz".to_owned();
        let good = checked(&name, &entry("../nar/x.nar.xz", &member));
        assert_eq!(good, Ok(Checked::DebugInfo(DebugInfo { nar })));
        let traversal = checked(&name, &entry("../nar/x.nar.xz", "../../../etc/passwd"));
        assert!(matches!(traversal, Err(Bad::DebugInfo(ExtraError::Member { .. }))));
    }
}
