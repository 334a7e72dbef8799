//! Whether a content address and a store path belong together.

use thiserror::Error;

use super::{Algorithm, ContentAddress, Method};
use crate::base32;
use crate::hash::Hash;
use crate::narinfo::NarInfo;
use crate::store_path::{STORE_DIR, StorePath};

/// What is still to be checked before a path is proved by its content address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentProof {
    /// Nothing but NarHash: the content address is over the NAR, and is the same digest.
    NarHash,
    /// That the NAR holds one file with this digest; see [`FileDigest`](crate::nar::FileDigest).
    File(Hash),
}

/// Why a content address does not stand in for a signature.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Unproven {
    /// The address belongs to another path: the narinfo is wrong.
    #[error("content address {address} makes {expected}, and the narinfo is of {found}")]
    Path {
        /// The content address.
        address: String,
        /// The path that it makes with the narinfo's name and references.
        expected: StorePath,
        /// The path that the narinfo has.
        found: StorePath,
    },
    /// The address is over the NAR, and is not its digest: the narinfo is wrong.
    #[error("content address {address} is not NarHash {nar_hash}")]
    NarHash {
        /// The content address.
        address: String,
        /// NarHash.
        nar_hash: Hash,
    },
    /// A path of this kind has no references, or none to itself: the narinfo is wrong.
    #[error("content address {address} allows no references of this kind")]
    References {
        /// The content address.
        address: String,
    },
    /// The contents cannot be checked here: the digest is another than SHA-256, is git's, or is over a NAR that mentions
    /// itself.
    #[error("the contents behind content address {address} cannot be checked here")]
    Unchecked {
        /// The content address.
        address: String,
    },
}

impl ContentAddress {
    /// Whether `info`'s store path is the one that this address makes, and if so, what proves its contents.
    ///
    /// Who accepts a path without a signature must check what [`ContentProof`] names, NarHash included, over the bytes.
    pub fn matches(&self, info: &NarInfo) -> Result<ContentProof, Unproven> {
        let address = || self.to_string();
        let own = info.references.contains(&info.store_path);
        let mut others: Vec<&StorePath> =
            info.references.iter().filter(|reference| **reference != info.store_path).collect();
        others.sort_unstable();
        others.dedup();

        let expected = match (self.method, self.algorithm) {
            (Method::Text, Algorithm::Sha256) if !own => {
                make_path(&kind("text", &others, false), &self.hex(), info)
            }
            (Method::Nar, Algorithm::Sha256) => make_path(&kind("source", &others, own), &self.hex(), info),
            (Method::Text, Algorithm::Sha256) => return Err(Unproven::References { address: address() }),
            (Method::Text, _) => return Err(Unproven::Unchecked { address: address() }),
            _ if own || !others.is_empty() => return Err(Unproven::References { address: address() }),
            (method, algorithm) => {
                let ingestion = match method {
                    Method::Nar => "r:",
                    Method::Git => "git:",
                    Method::Text | Method::Flat => "",
                };
                let text = format!("fixed:out:{ingestion}{}:{}:", algorithm.name(), self.hex());
                make_path("output:out", &Hash::of(text.as_bytes()).to_hex(), info)
            }
        };
        if expected != info.store_path {
            let found = info.store_path.clone();
            return Err(Unproven::Path { address: address(), expected, found });
        }

        let digest = <[u8; 32]>::try_from(self.digest.as_slice()).map(Hash::from_bytes);
        match (self.method, self.algorithm, digest) {
            (Method::Nar, Algorithm::Sha256, Ok(digest)) if !own => {
                if digest == info.nar_hash {
                    Ok(ContentProof::NarHash)
                } else {
                    Err(Unproven::NarHash { address: address(), nar_hash: info.nar_hash })
                }
            }
            (Method::Text | Method::Flat, Algorithm::Sha256, Ok(digest)) => Ok(ContentProof::File(digest)),
            _ => Err(Unproven::Unchecked { address: address() }),
        }
    }
}

/// The kind of a path with its references, as Nix writes it into what it hashes.
fn kind(base: &str, others: &[&StorePath], own: bool) -> String {
    let mut kind = base.to_owned();
    for reference in others {
        kind.push(':');
        kind.push_str(&reference.to_string());
    }
    if own {
        kind.push_str(":self");
    }
    kind
}

/// The path of that kind with the name that `info`'s path has.
fn make_path(kind: &str, inner: &str, info: &NarInfo) -> StorePath {
    let name = info.store_path.name();
    let digest = Hash::of(format!("{kind}:sha256:{inner}:{STORE_DIR}:{name}").as_bytes());
    // 32 bytes are folded into 20.
    let mut folded = [0; 20];
    for (place, byte) in digest.as_bytes().iter().enumerate() {
        folded[place % 20] ^= byte;
    }
    StorePath::of_checked(&format!("{}-{name}", base32::encode(&folded)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nar::writer::Tree;

    /// A narinfo of a path; only what an address is compared with matters.
    fn info(base: &str, nar_hash: Hash, references: &[&str]) -> NarInfo {
        let text = format!(
            "StorePath: /nix/store/{base}\nURL: nar/x\nNarHash: {nar_hash}\nNarSize: 1\nReferences: {}\n",
            references.join(" ")
        );
        text.parse().unwrap()
    }

    fn address(text: &str) -> ContentAddress {
        text.parse().unwrap()
    }

    fn file() -> Hash {
        Hash::of(b"hello")
    }

    fn nar() -> Hash {
        Hash::of(&Tree::file(b"hello").to_nar())
    }

    /// What the real Nix 2.8 made of a file "hello", with `builtins.toFile`, `builtins.path` and
    /// `nix-store --add-fixed [--recursive]`.
    #[test]
    fn paths_that_nix_made() {
        let text = address(&format!("text:{}", file()));
        let made = info("gn76d8dh089anfi3s47pvgsh93l1d1n9-text", nar(), &[]);
        assert_eq!(text.matches(&made), Ok(ContentProof::File(file())));
        let recursive = address(&format!("fixed:r:{}", nar()));
        for base in ["cqpyh9019mjpha54hzqywcwyswbx6d2l-nar", "yqi18hzk6wxzj2ksv7x9k8rnnzwirzz9-hello"] {
            assert_eq!(recursive.matches(&info(base, nar(), &[])), Ok(ContentProof::NarHash));
        }
        let flat = address(&format!("fixed:{}", file()));
        for base in ["55rlr5xql78vj5r1xpimlfvz0jzzlxn9-flat", "3fhdhfqli6qm669f7sz8d8v6xz24zrqc-hello"] {
            assert_eq!(flat.matches(&info(base, nar(), &[])), Ok(ContentProof::File(file())));
        }
    }

    #[test]
    fn references_are_part_of_the_name() {
        let dep = "i34iv240fwy3jw8qp0mlmayyq3s4lm40-dep";
        let contents = Hash::of(format!("see /nix/store/{dep}").as_bytes());
        let text = address(&format!("text:{contents}"));
        let base = "82n4m5y6as5mx7kr60is82a98g8afsgc-textref";
        assert_eq!(text.matches(&info(base, nar(), &[dep])), Ok(ContentProof::File(contents)));
        assert!(matches!(text.matches(&info(base, nar(), &[])), Err(Unproven::Path { .. })));
        // `nix store make-content-addressed` of a path that mentions itself.
        let base = "v5f4q7s0lcx5qlqbscwf8p919nn1lry1-selfref";
        let own = address("fixed:r:sha256:1i76b55mnsrwjhy0xnfl2ws72956xx6jdcvg4mqx0vi22nd9ajs8");
        assert!(matches!(own.matches(&info(base, nar(), &[base])), Err(Unproven::Unchecked { .. })));
        assert!(matches!(own.matches(&info(base, nar(), &[])), Err(Unproven::Path { .. })));
        // Flat files and texts cannot mention themselves, and flat files nothing.
        for (ca, references) in [("text", [base]), ("fixed", [base]), ("fixed", [dep])] {
            let ca = address(&format!("{ca}:{}", file()));
            assert!(matches!(ca.matches(&info(base, nar(), &references)), Err(Unproven::References { .. })));
        }
    }

    #[test]
    fn other_digests_make_the_path_and_prove_nothing_here() {
        for (base, ca) in [
            ("cjjgh51g19my6qswi7m4371f5892dxs9-hello", "fixed:md5:4jqlbi14cxf6wpcajbphm40hax"),
            ("vmzyb8x6y89fyvvrv1270779qg1mhysw-hello", "fixed:r:md5:4v4vb45jfpfg36w1gvq5b11xym"),
            ("v0nrf1zmxrpzqx6hw27z2qp9glpisrpz-hello", "fixed:sha1:9m1skbnr5i43n3yypvda5s65vhfwdx5a"),
            ("9yw8zg8zabkb6xrhdxm7shpq2cjcx9ky-hello", "fixed:r:sha1:x5zjnshbjrrhpg88n2da87884cmn2i2i"),
            (
                "5001xzvwzscs1y267si3wjjl96m8jj3g-hello",
                "fixed:r:sha512:21h4z9pi1hsg8dqdz1v12fc27kmkmibrw4bw8ddjfmafdpbvp2cp8k9153n6mfi655ajmp7dh5z1i1iaj72b7nrvnc53271zlj286qd",
            ),
        ] {
            let made = info(base, nar(), &[]);
            assert!(matches!(address(ca).matches(&made), Err(Unproven::Unchecked { .. })), "{ca}");
            let other = info(&base.replace("hello", "hullo"), nar(), &[]);
            assert!(matches!(address(ca).matches(&other), Err(Unproven::Path { .. })), "{ca}");
        }
        let text = address("text:sha1:9m1skbnr5i43n3yypvda5s65vhfwdx5a");
        let made = info("v0nrf1zmxrpzqx6hw27z2qp9glpisrpz-hello", nar(), &[]);
        assert!(matches!(text.matches(&made), Err(Unproven::Unchecked { .. })));
    }

    #[test]
    fn a_narinfo_that_claims_another_nar_is_refused() {
        let recursive = address(&format!("fixed:r:{}", nar()));
        let other = info("cqpyh9019mjpha54hzqywcwyswbx6d2l-nar", file(), &[]);
        assert!(matches!(recursive.matches(&other), Err(Unproven::NarHash { .. })));
    }
}
