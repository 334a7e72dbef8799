//! Many signatures at once.

use ed25519_dalek::{Signature as DalekSignature, verify_batch};

use super::{PublicKeys, Untrusted};
use crate::narinfo::NarInfo;

/// Signatures in one batch: enough for the gain (measured: 2.6 times as many per second at 64), few enough that one
/// bad signature makes little work be done twice.
const BATCH: usize = 64;

pub(super) fn verify_many<'a>(keys: &'a PublicKeys, infos: &[&NarInfo]) -> Vec<Result<&'a str, Untrusted>> {
    infos.chunks(BATCH).flat_map(|chunk| verify_chunk(keys, chunk)).collect()
}

/// Judges a chunk by each narinfo's first signature that names a trusted key, and one by one when that fails or a
/// narinfo has none.
fn verify_chunk<'a>(keys: &'a PublicKeys, infos: &[&NarInfo]) -> Vec<Result<&'a str, Untrusted>> {
    let mut names = Vec::with_capacity(infos.len());
    let mut fingerprints = Vec::with_capacity(infos.len());
    let mut signatures = Vec::with_capacity(infos.len());
    let mut verifying_keys = Vec::with_capacity(infos.len());
    for info in infos {
        let candidate = keys.candidates(&info.sigs).next();
        names.push(candidate.map(|(key, _)| key.name()));
        if let Some((key, signature)) = candidate {
            fingerprints.push(info.fingerprint());
            signatures.push(DalekSignature::from_bytes(signature.as_bytes()));
            verifying_keys.push(*key.key());
        }
    }
    let messages: Vec<&[u8]> = fingerprints.iter().map(String::as_bytes).collect();
    if verify_batch(&messages, &signatures, &verifying_keys).is_err() {
        return infos.iter().map(|info| keys.verify(info)).collect();
    }
    names.into_iter().zip(infos).map(|(name, info)| name.ok_or_else(|| keys.why_not(&info.sigs))).collect()
}
