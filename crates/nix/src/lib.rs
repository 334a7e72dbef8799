//! Nix binary-cache formats: narinfo, NAR, listing, store path, base32, hashes, signatures, content
//! addresses, realisations, the index of debug information, cache info, byte ranges and the URL rule.
//!
//! Everything here is pure: bytes in, values out. No I/O, no clock, no randomness.
#![forbid(unsafe_code)]

pub mod base32;
mod base_url;
mod cache_info;
mod compression;
mod content_address;
pub mod extras;
mod hash;
mod hash_part;
mod key;
pub mod listing;
pub mod nar;
pub mod narinfo;
mod range;
pub mod realisation;
mod signature;
mod store_path;
#[cfg(test)]
mod testing;
mod text;
mod trust;

pub use base_url::{BaseUrl, BaseUrlError, NarUrlError, Origins};
pub use cache_info::{CacheInfo, CacheInfoError};
pub use compression::{Compression, UnknownCompression};
pub use content_address::{Algorithm, ContentAddress, ContentAddressError, ContentProof, Method, Unproven};
pub use extras::{BuildId, DebugInfo, Extra, ExtraError, ExtraKind};
pub use hash::{Hash, HashError};
pub use hash_part::{HashPart, HashPartError};
pub use key::{KeyError, PublicKey, SecretKey};
pub use narinfo::{FieldProblem, NarInfo, NarInfoError, NarInfoView};
pub use range::{ContentRange, RangeRequest};
pub use signature::{Signature, SignatureError};
pub use store_path::{STORE_DIR, StorePath, StorePathError};
pub use trust::{PublicKeys, SignatureCheck, SignatureOutcome, Trust, TrustRule, Untrusted};

/// The path under which a mirror serves a NAR file: `nar/<FileHash>.nar`, with the suffix that Nix gives the
/// compression.
#[must_use]
pub fn served_nar_name(file_hash: Hash, compression: Compression) -> String {
    format!("nar/{}.nar{}", file_hash.to_nix32(), compression.suffix())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nar_is_served_under_its_file_hash() {
        let hash = Hash::from_bytes([0; 32]);
        let zeros = "0".repeat(52);
        assert_eq!(served_nar_name(hash, Compression::Xz), format!("nar/{zeros}.nar.xz"));
        assert_eq!(served_nar_name(hash, Compression::None), format!("nar/{zeros}.nar"));
    }
}
