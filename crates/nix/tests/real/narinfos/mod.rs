//! The real Nix as a second reader of narinfos: what it takes and what it reads, in both directions.

mod nix;
mod variants;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use granary_nix::{ContentAddress, Hash, NarInfo, Unproven};

use crate::version::{Version, with_every_version};
use nix::{Nix, Read, base};
use variants::{Reading, variants};

with_every_version! {
    nix_and_we_read_the_same_of_every_variant,
    nix_and_we_read_the_same_of_every_fixture,
}

/// Nix takes all of these and reads what we read; and the same of what we write.
fn both_read_the_same(nix: &Nix, infos: &BTreeMap<String, NarInfo>) {
    let paths: Vec<&str> = infos.keys().map(String::as_str).collect();
    let theirs = nix.read(&paths).unwrap();
    assert_eq!(theirs.len(), paths.len());
    for (path, info) in infos {
        assert_eq!(theirs[&base(path)], Read::from(info), "{path}");
    }
    both_read_the_same_of_ours(nix, infos, "in-our-words");
}

/// Nix reads in what we write what we wrote.
fn both_read_the_same_of_ours(nix: &Nix, infos: &BTreeMap<String, NarInfo>, name: &str) {
    let again = Nix::new(&nix.version, &nix.home.join(name));
    for (path, info) in infos {
        again.put(path, info.to_text().as_bytes());
    }
    let paths: Vec<&str> = infos.keys().map(String::as_str).collect();
    let read = again.read(&paths).unwrap();
    for (path, info) in infos {
        assert_eq!(read[&base(path)], Read::from(info), "{path}, {name}");
    }
}

fn nix_and_we_read_the_same_of_every_variant(version: &Version) {
    let folder = tempfile::tempdir().unwrap();
    let nix = Nix::new(version, folder.path());
    let (mut taken, mut rewritten) = (BTreeMap::new(), BTreeMap::new());
    for variant in variants() {
        let (path, ours) = (variant.path(), NarInfo::parse(&variant.text()));
        nix.put(&path, &variant.text());
        let theirs = || nix.read_one(&path);
        match (variant.reading(), ours) {
            (Reading::Both, Ok(info)) => {
                taken.insert(path, info);
            }
            (Reading::Neither, Err(_)) => assert!(theirs().is_err(), "nix takes {variant:?}: {:?}", theirs()),
            (Reading::OnlyNix(why, meant), Err(_)) => {
                let meant = NarInfo::parse(&variant.read_as(meant)).unwrap();
                assert_eq!(theirs(), Ok(Read::from(&meant)), "{variant:?}: {why}");
            }
            (Reading::UnknownCompression(name), Err(_)) => {
                let plain = NarInfo::parse(&variant.read_as(str::to_owned)).unwrap();
                assert_eq!(theirs(), Ok(Read::from(&plain).with_compression(name)), "{variant:?}");
            }
            (Reading::BadSig { sig, refused_from }, Ok(info)) => {
                if refused_from.is_some_and(|from| version.number >= from) {
                    assert!(theirs().is_err(), "{variant:?}: {:?}", theirs());
                } else {
                    assert_eq!(theirs(), Ok(Read::from(&info).with_sig(sig)), "{variant:?}");
                }
                rewritten.insert(path, info);
            }
            (_, ours) => panic!("{variant:?}: {ours:?}"),
        }
    }
    assert!(taken.len() > 15);
    both_read_the_same(&nix, &taken);
    both_read_the_same_of_ours(&nix, &rewritten, "without-bad-signatures");
}

fn nix_and_we_read_the_same_of_every_fixture(version: &Version) {
    let Some(fixtures) = std::env::var_os("GRANARY_FIXTURES").map(PathBuf::from) else {
        eprintln!("skipped: GRANARY_FIXTURES is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // A cache has one narinfo for each hash part, and the fixtures have several of some.
    let mut caches: Vec<(Nix, BTreeMap<String, NarInfo>)> = Vec::new();
    let (mut refused, mut addressed) = (0, 0);
    for (number, file) in narinfos(&fixtures).into_iter().enumerate() {
        let text = fs::read(&file).unwrap();
        addressed += usize::from(has_its_own_address(&text, &file));
        let text = not_a_derivation(text);
        let (path, info) = match NarInfo::parse(&text) {
            Ok(info) => (info.store_path.to_string(), Some(info)),
            Err(error) => {
                println!("{}: {error}", file.display());
                let named = String::from_utf8_lossy(&text);
                let named =
                    named.lines().find_map(|line| line.strip_prefix("StorePath: ")).map(str::to_owned);
                let made = || format!("/nix/store/{}-x", &Hash::of(&text).to_nix32()[..32]);
                (named.unwrap_or_else(made), None)
            }
        };
        let Some(info) = info else {
            let nix = Nix::new(version, &folder.path().join(format!("refused-{number}")));
            nix.put(&path, &text);
            assert!(nix.read(&[&path]).is_err(), "nix takes {}", file.display());
            refused += 1;
            continue;
        };
        let free = caches.iter().position(|(_, taken)| !taken.contains_key(&path));
        let number = free.unwrap_or(caches.len());
        if number == caches.len() {
            caches.push((Nix::new(version, &folder.path().join(number.to_string())), BTreeMap::new()));
        }
        let (nix, taken) = &mut caches[number];
        nix.put(&path, &text);
        taken.insert(path, info);
    }
    let read: usize = caches.iter().map(|(_, taken)| taken.len()).sum();
    println!("{read} read by both, {refused} refused by us, {addressed} with a content address");
    assert!(read > 700 && addressed > 5, "{read}, {addressed}");
    for (nix, taken) in &caches {
        both_read_the_same(nix, taken);
    }
}

/// Whether this has a content address, which then is that of its path and NAR as far as can be told: a mirror refuses others.
fn has_its_own_address(text: &[u8], file: &Path) -> bool {
    let Ok(info) = NarInfo::parse(text) else { return false };
    let address = info.ca.as_ref().map(|address| address.parse::<ContentAddress>().unwrap());
    let proof = address.as_ref().map(|address| address.matches(&info));
    let wrong = matches!(proof, Some(Err(Unproven::Path { .. } | Unproven::NarHash { .. })));
    assert!(!wrong, "{}: {proof:?}", file.display());
    address.is_some()
}

/// The narinfo of a derivation as one of a path with another name: asked about a derivation, nix reads it, and there is no NAR.
fn not_a_derivation(text: Vec<u8>) -> Vec<u8> {
    let Ok(text) = String::from_utf8(text) else { panic!("not UTF-8") };
    let lines = text.split_inclusive('\n').map(|line| match line.strip_suffix(".drv\n") {
        Some(start) if start.starts_with("StorePath: ") => format!("{start}-drv\n"),
        _ => line.to_owned(),
    });
    lines.collect::<String>().into_bytes()
}

/// Every narinfo below a folder.
fn narinfos(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(narinfos(&path));
        } else if path.extension().is_some_and(|extension| extension == "narinfo") {
            found.push(path);
        }
    }
    found.sort();
    found
}
