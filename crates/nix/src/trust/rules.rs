//! What suffices for a narinfo to count.

use super::{PublicKeys, Untrusted};
use crate::content_address::{ContentAddress, ContentProof};
use crate::narinfo::NarInfo;

/// What one upstream's narinfos must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustRule {
    /// The keys that count.
    pub keys: PublicKeys,
    /// How many different ones of them must have signed, at least 1.
    pub signatures: usize,
    /// Whether a narinfo that they did not sign counts when its content address makes its store path. What the address says
    /// about the contents, and the narinfo alone cannot show, has to be checked with the NAR: see [`NarInfo::content_proof`].
    pub content_addressed: bool,
}

/// Rules of which a narinfo must meet one: that of the upstream that it comes from, or, on a disk where those of several
/// upstreams lie together, that of any.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust(Vec<TrustRule>);

impl TrustRule {
    /// One signature by any of these keys.
    #[must_use]
    pub const fn signed(keys: PublicKeys) -> Self {
        Self { keys, signatures: 1, content_addressed: false }
    }

    fn judge(&self, info: &NarInfo) -> Result<(), Untrusted> {
        let Self { keys, signatures, content_addressed } = self;
        let unsigned = match keys.verify_by(info, *signatures) {
            Ok(()) => return Ok(()),
            Err(untrusted) => untrusted,
        };
        match &info.ca {
            Some(address) if *content_addressed => {
                address.parse::<ContentAddress>()?.matches(info)?;
                Ok(())
            }
            _ => Err(unsigned),
        }
    }
}

impl Trust {
    /// The rules, in the order in which they are tried.
    #[must_use]
    pub fn rules(&self) -> &[TrustRule] {
        &self.0
    }

    /// Everything that meets one of several trusts, each rule once.
    #[must_use]
    pub fn any_of<'t>(trusts: impl IntoIterator<Item = &'t Self>) -> Self {
        trusts.into_iter().flat_map(|trust| trust.0.iter().cloned()).collect()
    }

    /// Whether `info` counts, by itself; its NAR is still to be compared with it.
    pub fn judge(&self, info: &NarInfo) -> Result<(), Untrusted> {
        let mut worst = Untrusted::Unsigned;
        for rule in &self.0 {
            match rule.judge(info) {
                Ok(()) => return Ok(()),
                Err(untrusted) if weight(&untrusted) > weight(&worst) => worst = untrusted,
                Err(_) => {}
            }
        }
        if self.0.is_empty() {
            // Says who signed it.
            return PublicKeys::default().verify(info).map(drop);
        }
        Err(worst)
    }

    /// Judges many narinfos, in their order. Those with one good signature, which suffices for most, cost less than half of
    /// what [`Self::judge`] does for each.
    #[must_use]
    pub fn judge_many(&self, infos: &[&NarInfo]) -> Vec<Result<(), Untrusted>> {
        let mut good = vec![false; infos.len()];
        for rule in self.0.iter().filter(|rule| rule.signatures <= 1) {
            let open: Vec<usize> = (0..infos.len()).filter(|&place| !good[place]).collect();
            let batch: Vec<&NarInfo> = open.iter().map(|&place| infos[place]).collect();
            for (place, result) in open.into_iter().zip(rule.keys.verify_many(&batch)) {
                good[place] = result.is_ok();
            }
        }
        let judge = |(info, good): (&&NarInfo, bool)| if good { Ok(()) } else { self.judge(info) };
        infos.iter().zip(good).map(judge).collect()
    }
}

/// How much a fault says: a broken signature more than too few, and that more than none.
fn weight(untrusted: &Untrusted) -> u8 {
    match untrusted {
        Untrusted::Unsigned => 0,
        Untrusted::UntrustedKey { .. } => 1,
        Untrusted::ContentAddress(_) | Untrusted::Unproven(_) => 2,
        Untrusted::TooFew { .. } => 3,
        Untrusted::BadSignature { .. } => 4,
    }
}

impl FromIterator<TrustRule> for Trust {
    fn from_iter<I: IntoIterator<Item = TrustRule>>(rules: I) -> Self {
        let mut all = Vec::new();
        for rule in rules {
            if !all.contains(&rule) {
                all.push(rule);
            }
        }
        Self(all)
    }
}

impl From<TrustRule> for Trust {
    fn from(rule: TrustRule) -> Self {
        Self(vec![rule])
    }
}

impl From<&PublicKeys> for Trust {
    fn from(keys: &PublicKeys) -> Self {
        TrustRule::signed(keys.clone()).into()
    }
}

impl From<&Self> for Trust {
    fn from(trust: &Self) -> Self {
        trust.clone()
    }
}

impl NarInfo {
    /// What the content address says about the NAR, when it makes the store path and can be checked here. Nix refuses a NAR
    /// that is not so, signed or not.
    #[must_use]
    pub fn content_proof(&self) -> Option<ContentProof> {
        self.ca.as_deref()?.parse::<ContentAddress>().ok()?.matches(self).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::key;
    use crate::{Hash, SecretKey, Unproven};

    fn keys(numbers: &[u8]) -> PublicKeys {
        numbers.iter().map(|&number| key(number).public_key()).collect()
    }

    fn rule(numbers: &[u8], signatures: usize, content_addressed: bool) -> TrustRule {
        TrustRule { keys: keys(numbers), signatures, content_addressed }
    }

    fn info(signers: &[u8]) -> NarInfo {
        let text = format!(
            "StorePath: /nix/store/cqpyh9019mjpha54hzqywcwyswbx6d2l-nar\nURL: nar/x\nNarHash: {}\nNarSize: 1\n",
            Hash::of(b"nar")
        );
        let mut info: NarInfo = text.parse().unwrap();
        info.sigs = signers.iter().map(|&signer| key(signer).sign(&info.fingerprint())).collect();
        info
    }

    /// A file "hello" as `builtins.toFile` of the real Nix 2.8 named it.
    fn text_file(ca: &str) -> NarInfo {
        let text = format!(
            "StorePath: /nix/store/gn76d8dh089anfi3s47pvgsh93l1d1n9-text\nURL: nar/x\nNarHash: {}\nNarSize: 1\nCA: {ca}\n",
            Hash::of(b"nar")
        );
        text.parse().unwrap()
    }

    #[test]
    fn so_many_different_keys_must_have_signed() {
        let two: Trust = rule(&[1, 2, 3], 2, false).into();
        assert_eq!(two.judge(&info(&[1, 9, 3])), Ok(()));
        let too_few = |signed_by: &[&str]| {
            Err(Untrusted::TooFew {
                needed: 2,
                signed_by: signed_by.iter().map(|&name| name.into()).collect(),
            })
        };
        assert_eq!(two.judge(&info(&[1, 9])), too_few(&["key-1"]));
        assert_eq!(two.judge(&info(&[1, 1])), too_few(&["key-1"]), "one key twice is one key");
        let mut forged = info(&[1, 2]);
        forged.sigs[1] = key(2).sign("something else");
        assert_eq!(two.judge(&forged), too_few(&["key-1"]));
        assert_eq!(two.judge(&info(&[])), Err(Untrusted::Unsigned));
        assert_eq!(
            two.judge(&info(&[1, 9])).unwrap_err().to_string(),
            "signed by 1 of the 2 different trusted keys that are needed: key-1"
        );
    }

    #[test]
    fn one_key_under_two_names_is_one_key() {
        let alias = SecretKey::from_seed("alias-1", &[7; 32]).unwrap();
        let name = SecretKey::from_seed("name-1", &[7; 32]).unwrap();
        let keys: PublicKeys = [alias.public_key(), name.public_key()].into_iter().collect();
        assert_eq!(keys.different(), 1);
        let mut info = info(&[]);
        info.sigs = vec![alias.sign(&info.fingerprint()), name.sign(&info.fingerprint())];
        assert!(matches!(keys.verify_by(&info, 2), Err(Untrusted::TooFew { .. })));
        assert_eq!(keys.verify_by(&info, 1), Ok(()));
    }

    #[test]
    fn a_content_address_stands_in_only_where_it_may_and_makes_the_path() {
        let good = text_file(&format!("text:{}", Hash::of(b"hello")));
        let (accept, refuse): (Trust, Trust) = (rule(&[1], 1, true).into(), rule(&[1], 1, false).into());
        assert_eq!(accept.judge(&good), Ok(()));
        assert_eq!(good.content_proof(), Some(ContentProof::File(Hash::of(b"hello"))));
        assert_eq!(refuse.judge(&good), Err(Untrusted::Unsigned));
        let other = text_file(&format!("text:{}", Hash::of(b"hullo")));
        assert!(matches!(accept.judge(&other), Err(Untrusted::Unproven(Unproven::Path { .. }))));
        let unchecked = text_file("text:sha1:9m1skbnr5i43n3yypvda5s65vhfwdx5a");
        assert!(matches!(accept.judge(&unchecked), Err(Untrusted::Unproven(Unproven::Unchecked { .. }))));
        assert_eq!(accept.judge(&info(&[])), Err(Untrusted::Unsigned), "no address at all");
        let signed = NarInfo { sigs: vec![key(1).sign(&unchecked.fingerprint())], ..unchecked };
        assert_eq!(accept.judge(&signed), Ok(()), "a signature needs no address");
    }

    #[test]
    fn one_rule_of_several_suffices_and_keys_of_two_rules_do_not_add_up() {
        let (one, two): (Trust, Trust) = (rule(&[1, 2], 2, false).into(), rule(&[3, 4], 2, false).into());
        let both = Trust::any_of([&one, &two, &one]);
        assert_eq!(both.rules().len(), 2, "each rule once");
        assert_eq!(both.judge(&info(&[3, 4])), Ok(()));
        assert!(matches!(both.judge(&info(&[1, 3])), Err(Untrusted::TooFew { .. })));
        assert!(Trust::default().judge(&info(&[1])).is_err(), "nothing meets no rule");
    }

    #[test]
    fn many_are_judged_as_one_by_one() {
        let trust = Trust::any_of([
            &rule(&[1], 1, false).into(),
            &rule(&[2, 3], 2, false).into(),
            &rule(&[4], 1, true).into(),
        ]);
        let mut infos = vec![text_file(&format!("text:{}", Hash::of(b"hello")))];
        for signers in [&[1][..], &[2], &[2, 3], &[4], &[9], &[], &[9, 4], &[3, 1]] {
            infos.push(info(signers));
        }
        let infos: Vec<&NarInfo> = infos.iter().collect();
        let single: Vec<_> = infos.iter().map(|info| trust.judge(info)).collect();
        assert_eq!(trust.judge_many(&infos), single);
        let good: Vec<usize> = (0..single.len()).filter(|&place| single[place].is_ok()).collect();
        assert_eq!(good, [0, 1, 3, 4, 7, 8]);
    }
}
