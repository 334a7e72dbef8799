//! Signatures that are made here, judged by the real Nix.

use std::fs;

use granary_nix::{ContentAddress, ContentProof, Hash, NarInfo, PublicKeys, SecretKey, Unproven};

use crate::cache::{Cache, NOT_SIGNED, application, key, signed};
use crate::version::{Version, with_every_version};

with_every_version! {
    nix_takes_what_is_signed_here_with_the_trusted_key,
    nix_and_we_agree_on_what_a_signature_covers,
    nix_and_we_refuse_a_signature_over_unsorted_references,
    a_malformed_signature_beside_a_good_one,
    a_content_address_that_makes_the_path_needs_no_signature,
}

type Change = fn(&mut NarInfo, Hash);

fn trusted() -> PublicKeys {
    [key().public_key()].into_iter().collect()
}

fn nix_takes_what_is_signed_here_with_the_trusted_key(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    let app = signed(application());
    cache.put(&app, &app.to_text());
    cache.substitute(&app, &key().public_key()).unwrap();
    let namesake = SecretKey::from_seed("demo-1", &[8; 32]).unwrap();
    cache.refused(&app, &namesake.public_key());
    cache.put(&app, &application().to_text());
    cache.refused(&app, &key().public_key());
}

fn nix_and_we_agree_on_what_a_signature_covers(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    let app = signed(application());
    fs::copy(cache.folder().join(&app.url), cache.folder().join("another")).unwrap();

    let other = Hash::of(b"other");
    let not_covered: [(&str, Change); 8] = [
        ("URL", |info, _| info.url = "another".into()),
        ("FileHash", |info, other| info.file_hash = Some(other)),
        ("no FileHash", |info, _| info.file_hash = None),
        ("FileSize", |info, _| info.file_size = Some(1)),
        ("no FileSize", |info, _| info.file_size = None),
        ("Deriver", |info, _| info.deriver = Some(info.references[0].clone())),
        ("System", |info, _| info.system = Some("x86_64-linux".into())),
        ("References in another order", |info, _| info.references.reverse()),
    ];
    for (what, change) in not_covered {
        let mut changed = app.clone();
        change(&mut changed, other);
        assert!(trusted().verify(&changed).is_ok(), "{what}");
        cache.put(&changed, &changed.to_text());
        if let Err(words) = cache.substitute(&changed, &key().public_key()) {
            panic!("{what}: {words}");
        }
    }
    let lines = format!("X-First: 1\n{}X-Empty: \nMirrors: https://a https://b\n", app.to_text());
    assert!(trusted().verify(&lines.parse().unwrap()).is_ok());
    cache.put(&app, &lines);
    cache.substitute(&app, &key().public_key()).unwrap();

    // Nor the content address. But one that makes another path is no good to Nix, whoever signed.
    let addressed = NarInfo { ca: Some(format!("fixed:r:{}", app.nar_hash)), ..app.clone() };
    assert!(trusted().verify(&addressed).is_ok());
    cache.put(&addressed, &addressed.to_text());
    let words = cache.substitute(&addressed, &key().public_key()).unwrap_err();
    assert!(
        words.contains("claims to be content-addressed but isn't") && !words.contains(NOT_SIGNED),
        "{words}"
    );

    let covered: [Change; 4] = [
        |info, _| info.store_path = "/nix/store/8gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-app".parse().unwrap(),
        |info, other| info.nar_hash = other,
        |info, _| info.nar_size += 1,
        |info, _| info.references.truncate(1),
    ];
    for change in covered {
        let mut changed = app.clone();
        change(&mut changed, other);
        assert!(trusted().verify(&changed).is_err(), "{changed}");
        cache.put(&changed, &changed.to_text());
        cache.refused(&changed, &key().public_key());
    }
}

fn nix_and_we_refuse_a_signature_over_unsorted_references(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    let mut app = application();
    let paths: Vec<String> = app.references.iter().map(ToString::to_string).collect();
    let [library, own] = &paths[..] else { panic!("{paths:?}") };
    let sorted = format!("{library},{own}");
    let fingerprint = app.fingerprint();
    assert!(fingerprint.ends_with(&sorted), "{fingerprint}");
    app.sigs = vec![key().sign(&fingerprint.replace(&sorted, &format!("{own},{library}")))];
    assert!(trusted().verify(&app).is_err());
    let text = app.to_text();
    cache.put(&app, &text);
    cache.refused(&app, &key().public_key());

    // Nor when they stand in that order in the narinfo as well.
    let [library, own] = [0, 1].map(|place| app.references[place].base_name());
    let unsorted = text.replace(&format!("{library} {own}"), &format!("{own} {library}"));
    assert_ne!(unsorted, text);
    cache.put(&app, &unsorted);
    cache.refused(&app, &key().public_key());
    app.references.reverse();
    assert!(trusted().verify(&app).is_err());
}

fn a_malformed_signature_beside_a_good_one(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    let app = signed(application());
    let good = format!("Sig: {}\n", app.sigs[0]);
    for sigs in
        [format!("Sig: asdf\n{good}"), format!("{good}Sig: asdf\n"), format!("{good}Sig: asdf\n{good}")]
    {
        let text = app.to_text().replace(&good, &sigs);
        cache.put(&app, &text);
        let nix = cache.substitute(&app, &key().public_key());
        assert_eq!(nix.is_ok(), version.number < (2, 34), "{nix:?}");
        // What we make of it is fit for every version.
        let ours: NarInfo = text.parse().unwrap();
        assert!(trusted().verify(&ours).is_ok());
        cache.put(&app, &ours.to_text());
        cache.substitute(&app, &key().public_key()).unwrap();
    }
}

fn a_content_address_that_makes_the_path_needs_no_signature(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    let mut app = application();
    app.references.retain(|reference| *reference != app.store_path);
    let address = format!("fixed:r:{}", app.nar_hash);
    app.ca = Some(address.clone());
    let address: ContentAddress = address.parse().unwrap();
    let Err(Unproven::Path { expected, .. }) = address.matches(&app) else { panic!("{app}") };
    app.store_path = expected;
    assert_eq!(address.matches(&app), Ok(ContentProof::NarHash));
    cache.put(&app, &app.to_text());
    cache.substitute(&app, &key().public_key()).unwrap();
    app.ca = None;
    cache.put(&app, &app.to_text());
    cache.refused(&app, &key().public_key());

    // One that makes the path and is of another NAR is no good to Nix, whoever signed.
    let other = format!("fixed:r:{}", Hash::of(b"other"));
    app.ca = Some(other.clone());
    let Err(Unproven::Path { expected, .. }) = other.parse::<ContentAddress>().unwrap().matches(&app) else {
        panic!("{app}")
    };
    app.store_path = expected;
    let app = signed(app);
    assert!(trusted().verify(&app).is_ok() && app.content_proof().is_none());
    cache.put(&app, &app.to_text());
    let words = cache.substitute(&app, &key().public_key()).unwrap_err();
    assert!(words.contains("ca hash mismatch importing path"), "{words}");
}
