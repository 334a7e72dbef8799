//! The real Nix as a second reader of narinfos: what it takes and what it reads, in both directions.
// Clippy counts only functions marked `#[test]` as tests, and the helpers here serve nothing else.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod variants;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use granary_nix::{Hash, NarInfo};
use serde_json::Value;
use variants::{Reading, variants};

/// A cache in a folder, looked at by nix.
struct Nix {
    home: PathBuf,
    cache: PathBuf,
}

impl Nix {
    /// Nothing, said on the terminal, when Nix is not installed.
    fn new(folder: &Path) -> Option<Self> {
        if !common::nix_is_installed() {
            return None;
        }
        let (home, cache) = (folder.to_owned(), folder.join("cache"));
        fs::create_dir_all(home.join("conf")).unwrap();
        fs::create_dir_all(&cache).unwrap();
        fs::write(home.join("conf/nix.conf"), "experimental-features = nix-command\nsubstituters =\n")
            .unwrap();
        fs::write(cache.join("nix-cache-info"), "StoreDir: /nix/store\n").unwrap();
        Some(Self { home, cache })
    }

    fn put(&self, path: &str, text: &[u8]) {
        fs::write(self.cache.join(format!("{}.narinfo", hash_part(path))), text).unwrap();
    }

    /// What nix reads of these paths, all of which it must take; else its words.
    fn read(&self, paths: &[&str]) -> Result<BTreeMap<String, Read>, String> {
        let mut read = BTreeMap::new();
        // What nix remembers of a cache is kept in its home.
        for paths in paths.chunks(200) {
            let mut command = Command::new("nix");
            command.env("HOME", &self.home).env("XDG_CACHE_HOME", self.home.join("remembered"));
            command.env("NIX_CONF_DIR", self.home.join("conf")).env_remove("NIX_REMOTE");
            command.args(["path-info", "--json", "--store"]).arg(format!("file://{}", self.cache.display()));
            let output = command.args(paths).output().unwrap();
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            read.extend(parse(&serde_json::from_slice(&output.stdout).unwrap()));
        }
        Ok(read)
    }
}

/// What a narinfo says. Nix does not tell the compression.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    url: String,
    file_hash: Option<Hash>,
    file_size: Option<u64>,
    nar_hash: Hash,
    nar_size: u64,
    references: Vec<String>,
    deriver: Option<String>,
    sigs: Vec<String>,
    ca: Option<String>,
}

impl From<&NarInfo> for Read {
    fn from(info: &NarInfo) -> Self {
        let mut sigs: Vec<String> = info.sigs.iter().map(ToString::to_string).collect();
        sigs.sort();
        sigs.dedup();
        Self {
            url: info.url.clone(),
            file_hash: info.file_hash,
            // For nix, no size and none are the same.
            file_size: info.file_size.filter(|size| *size > 0),
            nar_hash: info.nar_hash,
            nar_size: info.nar_size,
            references: info.references.iter().map(|path| path.base_name().to_owned()).collect(),
            deriver: info.deriver.as_ref().map(|path| path.base_name().to_owned()),
            sigs,
            ca: info.ca.clone(),
        }
    }
}

/// Nix's answer: up to 2.18 a list, later an object by path.
fn parse(answer: &Value) -> Vec<(String, Read)> {
    match answer {
        Value::Array(infos) => {
            infos.iter().map(|info| (base(info["path"].as_str().unwrap()), read(info))).collect()
        }
        Value::Object(infos) => infos.iter().map(|(path, info)| (base(path), read(info))).collect(),
        other => panic!("{other}"),
    }
}

fn base(path: &str) -> String {
    path.strip_prefix("/nix/store/").unwrap_or(path).to_owned()
}

fn read(info: &Value) -> Read {
    let text = |field: &str| info[field].as_str().map(str::to_owned);
    let list = |field: &str| {
        let items = info[field].as_array().cloned().unwrap_or_default();
        let mut items: Vec<String> = items.iter().map(|item| base(item.as_str().unwrap())).collect();
        items.sort();
        items
    };
    Read {
        url: text("url").unwrap(),
        file_hash: text("downloadHash").map(|hash| hash.parse().unwrap()),
        file_size: info["downloadSize"].as_u64(),
        nar_hash: text("narHash").unwrap().parse().unwrap(),
        nar_size: info["narSize"].as_u64().unwrap(),
        references: list("references"),
        deriver: text("deriver").map(|path| base(&path)),
        sigs: list("signatures"),
        ca: text("ca"),
    }
}

fn hash_part(path: &str) -> &str {
    &path["/nix/store/".len()..][..32]
}

/// Nix takes all of these and reads what we read; and the same of what we write.
fn both_read_the_same(nix: &Nix, infos: &BTreeMap<String, NarInfo>) {
    let paths: Vec<&str> = infos.keys().map(String::as_str).collect();
    let theirs = nix.read(&paths).unwrap();
    assert_eq!(theirs.len(), paths.len());
    for (path, info) in infos {
        assert_eq!(theirs[&base(path)], Read::from(info), "{path}");
    }
    let again = Nix::new(&nix.home.join("written")).unwrap();
    for (path, info) in infos {
        again.put(path, info.to_text().as_bytes());
    }
    for (path, read) in again.read(&paths).unwrap() {
        assert_eq!(read, theirs[&path], "{path}, in our words");
    }
}

#[test]
fn nix_and_we_read_the_same_of_every_variant() {
    let folder = tempfile::tempdir().unwrap();
    let Some(nix) = Nix::new(folder.path()) else { return };
    let mut taken = BTreeMap::new();
    for variant in variants() {
        let (path, ours) = (variant.path(), NarInfo::parse(&variant.text()));
        nix.put(&path, &variant.text());
        let theirs = || nix.read(&[path.as_str()]);
        match (variant.reading(), ours) {
            (Reading::Both, Ok(info)) => {
                taken.insert(path, info);
            }
            (Reading::Neither, Err(_)) => assert!(theirs().is_err(), "nix takes {variant:?}: {:?}", theirs()),
            (Reading::OnlyNix(_), Err(_)) => {
                assert!(theirs().is_ok(), "{variant:?}: {}", theirs().unwrap_err());
            }
            (Reading::Otherwise(_), Ok(info)) => {
                // What we write of it, both read alike.
                assert_ne!(
                    theirs().ok().map(|mut read| read.remove(&base(&path)).unwrap()),
                    Some((&info).into())
                );
                nix.put(&path, info.to_text().as_bytes());
                let again = Nix { home: folder.path().join("once more"), cache: nix.cache.clone() };
                fs::create_dir_all(again.home.join("conf")).unwrap();
                fs::copy(nix.home.join("conf/nix.conf"), again.home.join("conf/nix.conf")).unwrap();
                assert_eq!(
                    again.read(&[path.as_str()]).unwrap()[&base(&path)],
                    (&info).into(),
                    "{variant:?}"
                );
            }
            (_, ours) => panic!("{variant:?}: {ours:?}"),
        }
    }
    assert!(taken.len() > 15);
    both_read_the_same(&nix, &taken);
}

#[test]
fn nix_and_we_read_the_same_of_every_fixture() {
    let Some(fixtures) = std::env::var_os("GRANARY_FIXTURES").map(PathBuf::from) else {
        eprintln!("skipped: GRANARY_FIXTURES is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // A cache has one narinfo for each hash part, and the fixtures have several of some.
    let mut caches: Vec<(Nix, BTreeMap<String, NarInfo>)> = Vec::new();
    let mut refused = 0;
    for (number, file) in narinfos(&fixtures).into_iter().enumerate() {
        let text = not_a_derivation(fs::read(&file).unwrap());
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
            let Some(nix) = Nix::new(&folder.path().join(format!("refused-{number}"))) else { return };
            nix.put(&path, &text);
            assert!(nix.read(&[&path]).is_err(), "nix takes {}", file.display());
            refused += 1;
            continue;
        };
        let free = caches.iter().position(|(_, taken)| !taken.contains_key(&path));
        let number = free.unwrap_or(caches.len());
        if number == caches.len() {
            let Some(nix) = Nix::new(&folder.path().join(number.to_string())) else { return };
            caches.push((nix, BTreeMap::new()));
        }
        let (nix, taken) = &mut caches[number];
        nix.put(&path, &text);
        taken.insert(path, info);
    }
    let read: usize = caches.iter().map(|(_, taken)| taken.len()).sum();
    println!("{read} read by both, {refused} refused by us");
    assert!(read > 700, "{read}");
    for (nix, taken) in &caches {
        both_read_the_same(nix, taken);
    }
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
