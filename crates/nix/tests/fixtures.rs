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

/// The folder, or nothing (said on the terminal) when there is none and the run does not insist on it.
fn fixtures() -> Option<PathBuf> {
    let folder = std::env::var_os("GRANARY_FIXTURES").map(PathBuf::from);
    if folder.is_none() {
        let required = std::env::var_os("GRANARY_REQUIRE_TOOLS").is_some_and(|value| value == "1");
        assert!(!required, "GRANARY_FIXTURES is not set");
        eprintln!("skipped: run cargo xtask test");
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

#[test]
fn signatures_of_known_keys_hold() {
    let Some(folder) = fixtures() else { return };
    let keys = keys(&folder);
    let infos: Vec<_> = files(&folder, ".narinfo")
        .iter()
        .filter_map(|path| NarInfo::parse(&fs::read(path).unwrap()).ok())
        .collect();
    let official = infos.iter().filter(|info| info.sigs.iter().any(|s| s.key_name() == "cache.nixos.org-1"));
    let official: Vec<_> = official.collect();
    assert!(official.len() > 700, "{}", official.len());
    let singly: Vec<_> = official.iter().map(|info| keys.verify(info)).collect();
    assert_eq!(keys.verify_many(&official), singly);
    let bad: Vec<_> =
        official.iter().zip(&singly).filter(|(_, answer)| answer.is_err()).map(|(info, _)| *info).collect();
    for info in &bad {
        println!("{} {:?}", info.store_path, keys.check_each(info));
    }
    assert!(bad.is_empty(), "{} of {} do not hold", bad.len(), official.len());

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
