//! The `CA` field. It is kept as text; here it is only told apart from what a client would choke on.

use thiserror::Error;

use crate::text::excerpt;

/// Why a `CA` value is malformed; Nix reports such a narinfo as corrupt.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ContentAddressError {
    /// Neither `text:…` nor `fixed:…`.
    #[error("content address {text:?} begins neither with text: nor with fixed:")]
    Method {
        /// The value, shortened.
        text: String,
    },
    /// The algorithm is not one of Nix.
    #[error("content address {text:?} names no hash algorithm of Nix")]
    Algorithm {
        /// The value, shortened.
        text: String,
    },
    /// The digest has no length that the algorithm gives in nix32, hex or base64.
    #[error("the digest of content address {text:?} has the wrong length or characters")]
    Digest {
        /// The value, shortened.
        text: String,
    },
}

/// Hash algorithms of Nix with the bytes of their digests.
const ALGORITHMS: [(&str, usize); 5] =
    [("md5", 16), ("sha1", 20), ("sha256", 32), ("sha512", 64), ("blake3", 32)];

/// Checks the form `text:<hash>` or `fixed:[r:|git:]<hash>`, a hash being `<algorithm>:<digest>`.
pub(crate) fn check(text: &str) -> Result<(), ContentAddressError> {
    let hash = match (text.strip_prefix("text:"), text.strip_prefix("fixed:")) {
        (Some(hash), _) => hash,
        (_, Some(rest)) => rest.strip_prefix("r:").or_else(|| rest.strip_prefix("git:")).unwrap_or(rest),
        (None, None) => return Err(ContentAddressError::Method { text: excerpt(text) }),
    };
    let (length, digest) = ALGORITHMS
        .into_iter()
        .find_map(|(name, length)| Some((length, hash.strip_prefix(name)?.strip_prefix([':', '-'])?)))
        .ok_or_else(|| ContentAddressError::Algorithm { text: excerpt(text) })?;
    let lengths = [(length * 8).div_ceil(5), length * 2, length.div_ceil(3) * 4];
    let characters = digest.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b));
    if lengths.contains(&digest.len()) && characters {
        Ok(())
    } else {
        Err(ContentAddressError::Digest { text: excerpt(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_nix_pass() {
        let sha1 = "0".repeat(32);
        let sha256 = "0".repeat(52);
        for text in [
            format!("text:sha256:{sha256}"),
            format!("fixed:sha256:{sha256}"),
            format!("fixed:r:sha256:{sha256}"),
            format!("fixed:r:sha1:{sha1}"),
            format!("fixed:git:sha1:{}", "a".repeat(40)),
        ] {
            assert_eq!(check(&text), Ok(()), "{text}");
        }
    }

    #[test]
    fn other_forms_are_told_apart() {
        assert!(matches!(check("sha256:0"), Err(ContentAddressError::Method { .. })));
        assert!(matches!(check("fixed:hash"), Err(ContentAddressError::Algorithm { .. })));
        assert!(matches!(check("fixed:r:sha256:00"), Err(ContentAddressError::Digest { .. })));
        let space = format!("text:sha256:{} ", "0".repeat(51));
        assert!(matches!(check(&space), Err(ContentAddressError::Digest { .. })));
    }
}
