//! Narinfos of real caches and test suites, when `GRANARY_FIXTURES` says where they are.
// Clippy counts only functions marked `#[test]` as tests, and the helpers here serve nothing else.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use granary_nix::{
    BaseUrl, CacheInfo, Compression, Hash, NarInfo, NarInfoView, Origins, PublicKeys, SignatureOutcome,
    Untrusted, served_nar_name,
};

/// The folder, or nothing (said on the terminal): only the project's own machines have it, so no run insists on it.
fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("GRANARY_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: GRANARY_FIXTURES is not set");
    }
    folder
}

/// Every file below `folder` whose name ends so.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The known public keys; a comment may follow a key.
fn keys(folder: &Path) -> PublicKeys {
    let text = fs::read_to_string(folder.join("public-keys.txt")).unwrap();
    PublicKeys::parse(
        text.lines().filter_map(|line| line.split('#').next().filter(|key| !key.trim().is_empty())),
    )
    .unwrap()
}

#[test]
fn every_narinfo_parses_or_is_refused_with_a_reason() {
    let Some(folder) = fixtures() else { return };
    let base: BaseUrl = "https://cache.example".parse().unwrap();
    let mut parsed = 0;
    let mut refused = BTreeMap::new();
    for path in files(&folder, ".narinfo") {
        let text = fs::read(&path).unwrap();
        let view = match NarInfoView::parse(&text) {
            Ok(view) => view,
            Err(error) => {
                refused.insert(path, error.to_string());
                continue;
            }
        };
        parsed += 1;
        let info = view.to_narinfo();
        let canonical = info.to_text();
        let again = NarInfo::parse(canonical.as_bytes()).unwrap();
        assert_eq!(again, info, "{}", path.display());
        assert_eq!(again.to_text(), canonical, "{}", path.display());
        assert_eq!(again.fingerprint(), info.fingerprint());
        base.resolve(&info.url, Origins::Upstream).unwrap();
    }
    for (path, reason) in &refused {
        println!("{}: {reason}", path.strip_prefix(&folder).unwrap().display());
    }
    assert!(parsed > 700, "{parsed} parsed");
    assert!(refused.len() < 20, "{} refused", refused.len());
    let known = ["nothing follows the colon", "the digest has", "is not of the form", "has no colon"];
    for (path, reason) in refused {
        assert!(known.iter().any(|known| reason.contains(known)), "{}: {reason}", path.display());
    }
}

/// Narinfos that name cache.nixos.org's key and must not verify.
const NOT_GENUINE: [&str; 4] = [
    // Example data of a test suite.
    "11111111111111111111111111111111.narinfo",
    // Genuine text with another NarHash.
    "00bgd045z0d4icpbc2yyz4gx48ak44la.v5.narinfo",
    "00bgd045z0d4icpbc2yyz4gx48ak44la.v6.narinfo",
    // Genuine, and signed over unsorted references: Nix refuses it as well.
    "xi429w4ddvb1r77978hm7jfb2jsn559r.narinfo",
];

#[test]
fn signatures_of_known_keys_hold() {
    let Some(folder) = fixtures() else { return };
    let keys = keys(&folder);
    let mut official = Vec::new();
    let mut not_genuine = 0;
    for path in files(&folder, ".narinfo") {
        let Ok(info) = NarInfo::parse(&fs::read(&path).unwrap()) else { continue };
        if !info.sigs.iter().any(|sig| sig.key_name() == "cache.nixos.org-1") {
            continue;
        }
        if NOT_GENUINE.iter().any(|name| path.ends_with(name)) {
            not_genuine += 1;
            assert!(matches!(keys.verify(&info), Err(Untrusted::BadSignature { .. })), "{}", path.display());
        } else {
            official.push(info);
        }
    }
    assert_eq!(not_genuine, NOT_GENUINE.len());
    assert!(official.len() > 700, "{}", official.len());
    let official: Vec<_> = official.iter().collect();
    for (info, answer) in official.iter().zip(keys.verify_many(&official)) {
        assert_eq!(answer, Ok("cache.nixos.org-1"), "{}", info.store_path);
        assert_eq!(keys.verify(info), answer);
    }

    // The same again with one signed byte changed: none may hold.
    for info in official.iter().take(100) {
        let mut altered = (*info).clone();
        altered.nar_size ^= 1;
        assert!(matches!(keys.verify(&altered), Err(Untrusted::BadSignature { .. })));
        assert!(keys.check_each(&altered).iter().all(|check| check.outcome != SignatureOutcome::Good));
    }
}

#[test]
fn the_byte_exact_artifact_of_cache_nixos_org() {
    let Some(folder) = fixtures() else { return };
    let cache = folder.join("nars/cache.nixos.org-byte-exact");
    let cache_info = CacheInfo::parse(&fs::read(cache.join("nix-cache-info")).unwrap()).unwrap();
    assert_eq!((cache_info.want_mass_query, cache_info.priority), (true, Some(40)));

    let text = fs::read(cache.join("00bgd045z0d4icpbc2yyz4gx48ak44la.narinfo")).unwrap();
    let info = NarInfo::parse(&text).unwrap();
    assert_eq!(info.to_text().as_bytes(), text, "cache.nixos.org writes the canonical form");
    assert_eq!(keys(&folder).verify(&info), Ok("cache.nixos.org-1"));
    let nar = fs::read(cache.join(&info.url)).unwrap();
    assert_eq!(info.file_hash, Some(Hash::of(&nar)));
    assert_eq!(info.file_size, Some(nar.len() as u64));
    assert_eq!(info.compression, Compression::Xz);
    assert_eq!(served_nar_name(Hash::of(&nar), info.compression), info.url);
}
