//! The signatures of a realisation, in both notations.

use serde::Deserialize;

use crate::signature::Signature;

/// One signature: `<key name>:<base64>`, or its two parts (from 2.35 on).
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawSig {
    Text(String),
    #[serde(rename_all = "camelCase")]
    Parts {
        key_name: String,
        sig: String,
    },
}

/// The well-formed ones. The others vouch for nothing.
pub(super) fn well_formed(sigs: Vec<RawSig>) -> Vec<Signature> {
    let text = |sig| match sig {
        RawSig::Text(text) => text,
        RawSig::Parts { key_name, sig } => format!("{key_name}:{sig}"),
    };
    sigs.into_iter().filter_map(|sig| text(sig).parse().ok()).collect()
}
