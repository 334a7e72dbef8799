//! A small cache that is written here, and from which the real Nix substitutes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use granary_nix::{Hash, NarInfo, PublicKey, SecretKey};

use crate::version::{Version, conf};

const LIBRARY: &str = "00bgd045z0d4icpbc2yyz4gx48ak44la-library";
const APP: &str = "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-app";
const CONTENT: &str = "hello from an application";

/// What every version of Nix says of a narinfo that no trusted key has signed.
pub const NOT_SIGNED: &str = "not signed by any of the keys";

/// The key that is trusted.
pub fn key() -> SecretKey {
    SecretKey::from_seed("demo-1", &[7; 32]).unwrap()
}

/// A cache of a library, signed by [`key`], and of an application that refers to it and to itself.
pub struct Cache<'v> {
    version: &'v Version,
    base: PathBuf,
}

impl<'v> Cache<'v> {
    pub fn new(version: &'v Version, base: &Path) -> Self {
        let cache = Self { version, base: base.to_owned() };
        fs::create_dir_all(cache.folder().join("nar")).unwrap();
        fs::write(cache.folder().join("nix-cache-info"), "StoreDir: /nix/store\n").unwrap();
        for content in ["a library", CONTENT] {
            let nar = nar(content);
            fs::write(cache.folder().join(format!("nar/{}.nar", Hash::of(&nar).to_nix32())), nar).unwrap();
        }
        let library = signed(info(LIBRARY, "a library", &[]));
        cache.put(&library, &library.to_text());
        cache
    }

    pub fn folder(&self) -> PathBuf {
        self.base.join("cache")
    }

    /// Has the cache say this of a path.
    pub fn put(&self, info: &NarInfo, text: &str) {
        fs::write(narinfo(&self.folder(), info), text).unwrap();
    }

    /// One of Nix's programs, in a home where nothing is remembered.
    pub fn command(&self, program: &str) -> (tempfile::TempDir, Command) {
        let home = tempfile::tempdir_in(&self.base).unwrap();
        conf(home.path());
        let command = self.version.command(program, home.path());
        (home, command)
    }

    /// Copies a path to another cache below the folder, which these parameters belong to; else Nix's words.
    pub fn copy(&self, info: &NarInfo, name: &str, parameters: &str) -> Result<NarInfo, String> {
        let (_home, mut command) = self.command("nix");
        let to = self.base.join(name);
        command
            .args(["copy", "--no-check-sigs", "--from"])
            .arg(format!("file://{}", self.folder().display()));
        command
            .arg("--to")
            .arg(format!("file://{}?{parameters}", to.display()))
            .arg(info.store_path.to_string());
        run(&mut command)?;
        let text = fs::read(narinfo(&to, info)).unwrap();
        Ok(NarInfo::parse(&text).unwrap())
    }

    /// Nix does not take the path, and because of its signature.
    pub fn refused(&self, info: &NarInfo, key: &PublicKey) {
        let words = self.substitute(info, key).unwrap_err();
        assert!(words.contains(NOT_SIGNED), "{words}");
    }

    /// Nix gets the path into an empty store, where only this key is trusted, and it is right; else its words.
    pub fn substitute(&self, info: &NarInfo, key: &PublicKey) -> Result<(), String> {
        let (home, mut command) = self.command("nix-store");
        let (store, path) = (home.path().join("store"), info.store_path.to_string());
        command.arg("--store").arg(&store).args(["--realise", &path]);
        command.args(["--option", "substituters", &format!("file://{}", self.folder().display())]);
        command.args([
            "--option",
            "trusted-public-keys",
            &key.to_string(),
            "--option",
            "require-sigs",
            "true",
        ]);
        run(&mut command)?;
        assert_eq!(fs::read_to_string(format!("{}{path}", store.display())).unwrap(), CONTENT);
        Ok(())
    }
}

/// Runs a command to its end; else what it said.
pub fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The application's narinfo, not signed.
pub fn application() -> NarInfo {
    info(APP, CONTENT, &[LIBRARY, APP])
}

/// With the trusted key's signature, and no other.
pub fn signed(mut info: NarInfo) -> NarInfo {
    info.sigs = vec![key().sign(&info.fingerprint())];
    info
}

/// The file in which a cache has a path's narinfo.
pub fn narinfo(cache: &Path, info: &NarInfo) -> PathBuf {
    cache.join(format!("{}.narinfo", info.store_path.hash_part()))
}

fn info(name: &str, content: &str, references: &[&str]) -> NarInfo {
    let nar = nar(content);
    let (hash, size) = (Hash::of(&nar), nar.len());
    let text = format!(
        "StorePath: /nix/store/{name}\nURL: nar/{}.nar\nCompression: none\nFileHash: {hash}\nFileSize: {size}\n\
         NarHash: {hash}\nNarSize: {size}\nReferences: {}\n",
        hash.to_nix32(),
        references.join(" ")
    );
    text.parse().unwrap()
}

/// The NAR of one file.
fn nar(content: &str) -> Vec<u8> {
    let mut nar = Vec::new();
    for word in ["nix-archive-1", "(", "type", "regular", "contents", content, ")"] {
        nar.extend((word.len() as u64).to_le_bytes());
        nar.extend(word.bytes());
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    nar
}
