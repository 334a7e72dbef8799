//! Key files that are written here and used by the real Nix, and the other way round.

use std::fs;

use granary_nix::{NarInfo, PublicKeys, SecretKey};

use crate::cache::{Cache, NOT_SIGNED, application, key, narinfo, run, signed};
use crate::version::{Version, with_every_version};

with_every_version! {
    nix_signs_with_a_key_file_of_ours,
    we_sign_with_a_key_file_of_nix,
}

fn nix_signs_with_a_key_file_of_ours(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    let (app, file) = (application(), folder.path().join("secret"));
    fs::write(&file, key().expose()).unwrap();
    let keys: PublicKeys = [key().public_key()].into_iter().collect();
    let good = |info: &NarInfo| {
        assert_eq!(info.sigs, signed(app.clone()).sigs, "there is one signature for a key and a text");
        assert_eq!(keys.verify(info), Ok("demo-1"));
    };
    cache.put(&app, &app.to_text());
    good(&cache.copy(&app, "copied", &format!("secret-key={}", file.display())).unwrap());

    let (_home, mut sign) = cache.command("nix");
    sign.args(["store", "sign", "--store"]).arg(format!("file://{}", cache.folder().display()));
    run(sign.arg("--key-file").arg(&file).arg(app.store_path.to_string())).unwrap();
    good(&NarInfo::parse(&fs::read(narinfo(&cache.folder(), &app)).unwrap()).unwrap());
    cache.substitute(&app, &key().public_key()).unwrap();

    let (_home, mut convert) = cache.command("nix");
    convert.args(["key", "convert-secret-to-public"]).stdin(fs::File::open(&file).unwrap());
    assert_eq!(run(&mut convert).unwrap().trim(), key().public_key().to_string());
}

fn we_sign_with_a_key_file_of_nix(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::new(version, folder.path());
    let [secret, public] = ["secret", "public"].map(|name| folder.path().join(name));
    let (_home, mut generate) = cache.command("nix-store");
    run(generate.args(["--generate-binary-cache-key", "other-1"]).arg(&secret).arg(&public)).unwrap();
    let secret: SecretKey = fs::read_to_string(secret).unwrap().parse().unwrap();
    assert_eq!(Ok(secret.public_key()), fs::read_to_string(public).unwrap().parse());

    let mut app = signed(application());
    app.sigs.insert(0, secret.sign(&app.fingerprint()));
    cache.put(&app, &app.to_text());
    // The library is signed by the other key alone.
    let words = cache.substitute(&app, &secret.public_key()).unwrap_err();
    assert!(words.contains(NOT_SIGNED) && words.contains("library"), "{words}");
    app.references.clear();
    app.sigs = vec![secret.sign(&app.fingerprint())];
    cache.put(&app, &app.to_text());
    cache.substitute(&app, &secret.public_key()).unwrap();
    cache.refused(&app, &key().public_key());
}
