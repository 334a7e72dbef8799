use proptest::prelude::*;

use super::*;
use crate::StorePath;
use crate::testing::{self, key};

fn trusting(numbers: impl IntoIterator<Item = u8>) -> PublicKeys {
    numbers.into_iter().map(|n| key(n).public_key()).collect()
}

fn info(n: u64) -> NarInfo {
    let hash = crate::Hash::of(&n.to_le_bytes());
    let text = format!(
        "StorePath: /nix/store/{}-a\nURL: nar/x\nNarHash: {hash}\nNarSize: 1\n",
        &hash.to_nix32()[..32]
    );
    text.parse().unwrap()
}

fn signed_by(n: u64, signers: &[u8]) -> NarInfo {
    let mut info = info(n);
    info.sigs = signers.iter().map(|&signer| key(signer).sign(&info.fingerprint())).collect();
    info
}

#[test]
fn one_good_signature_by_a_trusted_key_suffices() {
    let mut info = signed_by(1, &[7, 1, 2]);
    assert_eq!(trusting([1]).verify(&info), Ok("key-1"));
    assert_eq!(trusting([2, 1]).verify(&info), Ok("key-1"), "the narinfo's order decides");
    info.sigs[1] = key(1).sign("something else");
    assert_eq!(trusting([1, 2]).verify(&info), Ok("key-2"), "a bad one beside it does not matter");
}

#[test]
fn why_not() {
    let keys = trusting([1]);
    assert_eq!(keys.verify(&info(1)), Err(Untrusted::Unsigned));
    let strangers = Untrusted::UntrustedKey { signed_by: vec!["key-3".into(), "key-4".into()] };
    assert_eq!(keys.verify(&signed_by(1, &[4, 3, 4])), Err(strangers.clone()));
    assert_eq!(strangers.to_string(), "signed only by keys that are not trusted: key-3, key-4");
    let mut altered = signed_by(1, &[3, 1]);
    altered.nar_size += 1;
    let bad = Untrusted::BadSignature { key_name: "key-1".into() };
    assert_eq!(keys.verify(&altered), Err(bad));
    assert!(PublicKeys::default().verify(&signed_by(1, &[1])).is_err());
}

#[test]
fn two_keys_may_have_one_name() {
    let old = crate::SecretKey::from_seed("key-1", &[99; 32]).unwrap();
    let keys: PublicKeys = [old.public_key(), key(1).public_key()].into_iter().collect();
    let info = signed_by(1, &[1]);
    assert_eq!(keys.verify(&info), Ok("key-1"));
    // The batch tries the old key first, and must not stop there.
    assert_eq!(keys.verify_many(&[&info]), [Ok("key-1")]);
}

#[test]
fn each_signature_is_judged() {
    let mut info = signed_by(1, &[1, 2, 3]);
    info.sigs[1] = key(2).sign("something else");
    let outcomes: Vec<_> = trusting([1, 2]).check_each(&info).iter().map(|check| check.outcome).collect();
    assert_eq!(outcomes, [SignatureOutcome::Good, SignatureOutcome::Bad, SignatureOutcome::UnknownKey]);
}

#[test]
fn a_batch_answers_as_one_by_one() {
    let keys = trusting([1, 2]);
    let mut infos: Vec<_> = (0..200).map(|n| signed_by(n, &[1])).collect();
    infos[3] = info(3);
    infos[70] = signed_by(70, &[9]);
    infos[71] = signed_by(71, &[9, 2]);
    infos[150].nar_size += 1;
    infos[151] = signed_by(151, &[1, 2]);
    infos[151].sigs[0] = key(1).sign("something else");
    let infos: Vec<_> = infos.iter().collect();
    let answers = keys.verify_many(&infos);
    let single: Vec<_> = infos.iter().map(|info| keys.verify(info)).collect();
    assert_eq!(answers, single);
    let refused: Vec<_> = (0..200).filter(|&n| answers[n].is_err()).collect();
    assert_eq!(refused, [3, 70, 150]);
    assert_eq!(answers[71], Ok("key-2"));
    assert!(keys.verify_many(&[]).is_empty());
}

#[test]
fn a_signature_over_unsorted_references_is_refused() {
    let [a, b] = ["00bgd045z0d4icpbc2yyz4gx48ak44la-a", "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-b"];
    let fingerprint = |info: &NarInfo, references: [&str; 2]| {
        let [one, another] = references.map(|name| format!("/nix/store/{name}"));
        let NarInfo { store_path, nar_hash, nar_size, .. } = info;
        format!("1;{store_path};{nar_hash};{nar_size};{one},{another}")
    };
    let keys = trusting([1]);
    // Whichever order they stand in.
    for order in [[a, b], [b, a]] {
        let references = order.map(|name| StorePath::parse_base_name(name).unwrap()).to_vec();
        let plain = NarInfo { references, ..info(1) };
        let signed = |references| NarInfo {
            sigs: vec![key(1).sign(&fingerprint(&plain, references))],
            ..plain.clone()
        };
        assert_eq!(keys.verify(&signed([a, b])), Ok("key-1"), "{order:?}");
        let unsorted = signed([b, a]);
        let bad = Untrusted::BadSignature { key_name: "key-1".into() };
        assert_eq!(keys.verify(&unsorted), Err(bad.clone()), "{order:?}");
        assert_eq!(keys.verify_many(&[&unsorted]), [Err(bad)], "{order:?}");
    }
}

type Change = fn(&mut NarInfo, &NarInfo);

/// What no signature covers, each taken from another narinfo.
const NOT_SIGNED: [(&str, Change); 7] = [
    ("URL", |info, other| info.url = format!("{}/{}", info.url, other.url)),
    ("Compression", |info, other| info.compression = other.compression),
    ("FileHash", |info, other| info.file_hash = other.file_hash),
    ("FileSize", |info, other| info.file_size = other.file_size),
    ("Deriver", |info, other| info.deriver = Some(other.store_path.clone())),
    ("System", |info, _| info.system = Some("another-linux".into())),
    ("CA", |info, other| info.ca = Some(format!("fixed:r:{}", other.nar_hash))),
];

/// What every signature covers.
const SIGNED: [(&str, Change); 6] = [
    ("StorePath", |info, other| info.store_path = other.store_path.clone()),
    ("NarHash", |info, other| info.nar_hash = other.nar_hash),
    ("NarSize", |info, _| info.nar_size ^= 1 << 40),
    ("References: one more", |info, other| info.references.push(other.store_path.clone())),
    ("References: one less", |info, _| info.references.truncate(info.references.len() - 1)),
    ("References: another", |info, other| info.references[0] = other.store_path.clone()),
];

proptest! {
    #[test]
    fn a_signature_covers_path_hash_size_and_references_and_nothing_else(
        mut info in testing::narinfo(),
        other in testing::narinfo(),
    ) {
        info.references.push(info.store_path.clone());
        info.sigs = vec![key(1).sign(&info.fingerprint())];
        let keys = trusting([1]);
        let mut all = info.clone();
        for (field, change) in NOT_SIGNED {
            let mut changed = info.clone();
            change(&mut changed, &other);
            prop_assert_eq!(keys.verify(&changed), Ok("key-1"), "{}", field);
            change(&mut all, &other);
        }
        prop_assert_eq!(keys.verify_many(&[&all]), [Ok("key-1")]);
        let lines = format!("X-First: 1\n{}Mirrors: https://a.example https://b.example\nX-Empty: \n", info.to_text());
        prop_assert_eq!(keys.verify(&lines.parse().unwrap()), Ok("key-1"));

        for (field, change) in SIGNED {
            let mut changed = info.clone();
            change(&mut changed, &other);
            let bad = Untrusted::BadSignature { key_name: "key-1".into() };
            prop_assert_eq!(keys.verify(&changed), Err(bad.clone()), "{}", field);
            prop_assert_eq!(keys.verify_many(&[&changed]), [Err(bad)], "{}", field);
        }
    }

    #[test]
    fn signatures_hold_in_any_order_of_references(
        (mut info, shuffled) in testing::narinfo()
            .prop_flat_map(|info| (Just(info.clone()), Just(info.references).prop_shuffle())),
    ) {
        info.sigs = vec![key(1).sign(&info.fingerprint())];
        info.references = shuffled;
        let keys = trusting([1]);
        prop_assert_eq!(keys.verify(&info), Ok("key-1"));
    }
}
