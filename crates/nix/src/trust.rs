//! Which signatures of a narinfo hold, and why none does; and what suffices for it to count.

mod batch;
mod rules;

use std::collections::BTreeSet;

use ed25519_dalek::Signature as DalekSignature;
use thiserror::Error;

use crate::content_address::{ContentAddressError, Unproven};
use crate::key::{KeyError, PublicKey};
use crate::narinfo::NarInfo;
use crate::signature::Signature;

pub use rules::{Trust, TrustRule};

/// The keys that are trusted to say which contents a store path has. One good signature by one of them suffices.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublicKeys(Vec<PublicKey>);

/// Why no trusted key vouches for a narinfo.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Untrusted {
    /// There is no well-formed signature.
    #[error("the narinfo is not signed")]
    Unsigned,
    /// It is signed, by other keys than the trusted ones.
    #[error("signed only by keys that are not trusted: {}", .signed_by.join(", "))]
    UntrustedKey {
        /// Names of the keys that are said to have signed, sorted.
        signed_by: Vec<String>,
    },
    /// A signature names a trusted key, and does not hold: the narinfo was altered, or another key has this name.
    #[error("the signature by trusted key {key_name} does not hold")]
    BadSignature {
        /// The trusted key's name.
        key_name: String,
    },
    /// Fewer trusted keys have signed it than must have.
    #[error("signed by {} of the {needed} different trusted keys that are needed: {}", .signed_by.len(), .signed_by.join(", "))]
    TooFew {
        /// How many different keys must have signed.
        needed: usize,
        /// Names of the trusted keys whose signatures hold, sorted.
        signed_by: Vec<String>,
    },
    /// It is not signed, and its content address does not stand in for that.
    #[error("not signed by a trusted key, and {0}")]
    Unproven(#[from] Unproven),
    /// It is not signed, and its content address cannot be read.
    #[error("not signed by a trusted key, and {0}")]
    ContentAddress(#[from] ContentAddressError),
}

/// One signature of a narinfo, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureCheck {
    /// The key that is said to have signed.
    pub key_name: String,
    /// Whether it did.
    pub outcome: SignatureOutcome,
}

/// What became of one signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureOutcome {
    /// It holds, and the key is trusted.
    Good,
    /// A trusted key has this name, and the signature does not hold.
    Bad,
    /// No trusted key has this name.
    UnknownKey,
}

impl PublicKeys {
    /// Reads keys written `<name>:<base64>`.
    pub fn parse<S: AsRef<str>>(keys: impl IntoIterator<Item = S>) -> Result<Self, KeyError> {
        keys.into_iter().map(|key| key.as_ref().parse()).collect::<Result<_, _>>().map(Self)
    }

    /// The keys in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[PublicKey] {
        &self.0
    }

    /// Whether a trusted key vouches for `info`: the name of the first that does, else why none does.
    pub fn verify(&self, info: &NarInfo) -> Result<&str, Untrusted> {
        self.verify_text(&info.fingerprint(), &info.sigs)
    }

    /// The same for any text and the signatures that are said to be over it.
    pub fn verify_text(&self, text: &str, sigs: &[Signature]) -> Result<&str, Untrusted> {
        let good = self.candidates(sigs).find(|(key, signature)| holds(key, signature, text));
        good.map(|(key, _)| key.name()).ok_or_else(|| self.why_not(sigs))
    }

    /// Whether `needed` different trusted keys vouch for `info`. The same key under two names counts once.
    pub fn verify_by(&self, info: &NarInfo, needed: usize) -> Result<(), Untrusted> {
        if needed <= 1 {
            return self.verify(info).map(drop);
        }
        let fingerprint = info.fingerprint();
        let mut good: Vec<&PublicKey> = Vec::new();
        for (key, signature) in self.candidates(&info.sigs) {
            if good.iter().all(|counted| counted.key() != key.key()) && holds(key, signature, &fingerprint) {
                good.push(key);
                if good.len() >= needed {
                    return Ok(());
                }
            }
        }
        if good.is_empty() {
            return Err(self.why_not(&info.sigs));
        }
        let names: BTreeSet<_> = good.into_iter().map(PublicKey::name).collect();
        Err(Untrusted::TooFew { needed, signed_by: names.into_iter().map(str::to_owned).collect() })
    }

    /// How many different keys there are.
    #[must_use]
    pub fn different(&self) -> usize {
        let keys: BTreeSet<_> = self.0.iter().map(|key| key.key().to_bytes()).collect();
        keys.len()
    }

    /// Judges many narinfos, in their order. The good ones cost less than half of what [`Self::verify`] does each.
    ///
    /// A batch that does not hold as a whole is judged one by one, so the answers are those of [`Self::verify`].
    /// (Only the owner of a trusted key could make a signature that a batch takes and `verify` does not.)
    #[must_use]
    pub fn verify_many(&self, infos: &[&NarInfo]) -> Vec<Result<&str, Untrusted>> {
        batch::verify_many(self, infos)
    }

    /// Judges each signature, in the narinfo's order.
    #[must_use]
    pub fn check_each(&self, info: &NarInfo) -> Vec<SignatureCheck> {
        let fingerprint = info.fingerprint();
        let judge = |signature: &Signature| {
            let mut keys = self.0.iter().filter(|key| key.name() == signature.key_name()).peekable();
            if keys.peek().is_none() {
                SignatureOutcome::UnknownKey
            } else if keys.any(|key| holds(key, signature, &fingerprint)) {
                SignatureOutcome::Good
            } else {
                SignatureOutcome::Bad
            }
        };
        let check = |signature: &Signature| SignatureCheck {
            key_name: signature.key_name().to_owned(),
            outcome: judge(signature),
        };
        info.sigs.iter().map(check).collect()
    }

    /// The signatures that name a trusted key, with that key.
    fn candidates<'k, 'i>(
        &'k self,
        sigs: &'i [Signature],
    ) -> impl Iterator<Item = (&'k PublicKey, &'i Signature)> {
        let pair = |signature: &'i Signature| {
            let named = move |key: &&PublicKey| key.name() == signature.key_name();
            self.0.iter().filter(named).map(move |key| (key, signature))
        };
        sigs.iter().flat_map(pair)
    }

    /// Says why no trusted key vouches, when none does.
    fn why_not(&self, sigs: &[Signature]) -> Untrusted {
        if let Some((key, _)) = self.candidates(sigs).next() {
            return Untrusted::BadSignature { key_name: key.name().to_owned() };
        }
        let names: BTreeSet<_> = sigs.iter().map(Signature::key_name).collect();
        if names.is_empty() {
            Untrusted::Unsigned
        } else {
            Untrusted::UntrustedKey { signed_by: names.into_iter().map(str::to_owned).collect() }
        }
    }
}

impl FromIterator<PublicKey> for PublicKeys {
    fn from_iter<I: IntoIterator<Item = PublicKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

/// Whether `key` made `signature` over `text`.
fn holds(key: &PublicKey, signature: &Signature, text: &str) -> bool {
    let signature = DalekSignature::from_bytes(signature.as_bytes());
    key.key().verify_strict(text.as_bytes(), &signature).is_ok()
}

#[cfg(test)]
mod tests;
