//! What the real Nix reads of the narinfos of a cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use granary_nix::{Hash, NarInfo};
use serde_json::Value;

use crate::version::{Version, conf, hash_part};

/// A cache in a folder, looked at by nix.
pub struct Nix {
    pub version: Version,
    pub home: PathBuf,
    cache: PathBuf,
}

impl Nix {
    pub fn new(version: &Version, folder: &Path) -> Self {
        let (home, cache) = (folder.to_owned(), folder.join("cache"));
        conf(&home);
        fs::create_dir_all(&cache).unwrap();
        fs::write(cache.join("nix-cache-info"), "StoreDir: /nix/store\n").unwrap();
        Self { version: version.clone(), home, cache }
    }

    pub fn put(&self, path: &str, text: &[u8]) {
        fs::write(self.cache.join(format!("{}.narinfo", hash_part(path))), text).unwrap();
    }

    /// What nix reads of this path; else its words.
    pub fn read_one(&self, path: &str) -> Result<Read, String> {
        self.read(&[path]).map(|mut read| read.remove(&base(path)).unwrap())
    }

    /// What nix reads of these paths, all of which it must take; else its words.
    pub fn read(&self, paths: &[&str]) -> Result<BTreeMap<String, Read>, String> {
        let mut read = BTreeMap::new();
        for paths in paths.chunks(200) {
            let mut command = self.version.command("nix", &self.home);
            command.args(["path-info", "--json", "--store"]).arg(format!("file://{}", self.cache.display()));
            if self.version.number >= (2, 34) {
                command.args(["--json-format", "1"]);
            }
            let output = command.args(paths).output().unwrap();
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            read.extend(parse(&serde_json::from_slice(&output.stdout).unwrap()));
        }
        for read in read.values() {
            assert!(read.compression.is_some() || self.version.number < (2, 26), "{read:?}");
        }
        Ok(read)
    }
}

/// What a narinfo says.
#[derive(Clone, Debug)]
pub struct Read {
    url: String,
    /// Old versions of Nix do not tell it.
    compression: Option<String>,
    file_hash: Option<Hash>,
    file_size: Option<u64>,
    nar_hash: Hash,
    nar_size: u64,
    references: Vec<String>,
    deriver: Option<String>,
    /// Sorted.
    sigs: Vec<String>,
    ca: Option<String>,
}

impl Read {
    pub fn with_compression(mut self, name: &str) -> Self {
        self.compression = Some(name.to_owned());
        self
    }

    /// With one more signature, of whatever form.
    pub fn with_sig(mut self, sig: &str) -> Self {
        self.sigs.push(sig.to_owned());
        self.sigs.sort();
        self
    }
}

/// A compression that is not told is like any.
impl PartialEq for Read {
    fn eq(&self, other: &Self) -> bool {
        let all = |read: &Self| {
            let Self {
                url,
                compression: _,
                file_hash,
                file_size,
                nar_hash,
                nar_size,
                references,
                deriver,
                sigs,
                ca,
            } = read.clone();
            (url, file_hash, file_size, nar_hash, nar_size, references, deriver, sigs, ca)
        };
        let compressions = self.compression.as_ref().zip(other.compression.as_ref());
        all(self) == all(other) && compressions.is_none_or(|(one, another)| one == another)
    }
}

impl From<&NarInfo> for Read {
    fn from(info: &NarInfo) -> Self {
        let mut sigs: Vec<String> = info.sigs.iter().map(ToString::to_string).collect();
        sigs.sort();
        sigs.dedup();
        Self {
            url: info.url.clone(),
            compression: Some(info.compression.to_string()),
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

pub fn base(path: &str) -> String {
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
        compression: text("compression"),
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
