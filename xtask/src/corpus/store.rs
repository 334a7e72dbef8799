//! Packages become store paths: a name with a hash, the package's files, and the references written into a file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::corpus::packages::Packages;

/// The characters of hashes in store paths.
const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// A package in the store.
pub struct StorePath {
    package: String,
    path: String,
    deriver: String,
    references: Vec<String>,
}

impl StorePath {
    /// The package that it was made of.
    pub fn package(&self) -> &str {
        &self.package
    }

    /// `/nix/store/<hash>-<name>-<version>`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The other paths that it refers to.
    pub fn needs(&self) -> impl Iterator<Item = &str> {
        self.references.iter().map(String::as_str).filter(|reference| *reference != self.path)
    }

    /// What the store's database is told about it, beside the hash and size of its NAR.
    pub fn registration(&self, nar_hash: &str, nar_size: u64) -> String {
        let Self { package: _, path, deriver, references } = self;
        let head = format!("{path}\n{nar_hash}\n{nar_size}\n{deriver}\n{}\n", references.len());
        references.iter().fold(head, |text, reference| text + reference + "\n")
    }
}

/// Moves the unpacked trees below `work/unpacked` into a store at `work/root`.
pub fn place(packages: &Packages, work: &Path) -> Result<Vec<StorePath>> {
    let store = work.join("root/nix/store");
    fs::create_dir_all(&store)?;
    let mut paths: BTreeMap<&str, String> = BTreeMap::new();
    let mut placed = Vec::new();
    for (name, depends) in packages.in_order() {
        let version = &packages.get(name).context("a package that is not there")?.version;
        let base = base_name("out", name, version);
        let path = format!("/nix/store/{base}");
        // Most paths in a real store refer to themselves too.
        let mut references: Vec<String> =
            depends.iter().filter_map(|depend| paths.get(depend).cloned()).collect();
        references.push(path.clone());
        let tree = store.join(&base);
        fs::rename(work.join("unpacked").join(name), &tree)
            .with_context(|| format!("{name} was not downloaded"))?;
        let notes = tree.join("nix-support");
        fs::create_dir_all(&notes)?;
        fs::write(notes.join("propagated-build-inputs"), references.join(" ") + "\n")?;
        readable(&tree)?;
        paths.insert(name, path.clone());
        let deriver = format!("/nix/store/{}.drv", base_name("drv", name, version));
        placed.push(StorePath { package: name.to_owned(), path, deriver, references });
    }
    Ok(placed)
}

/// A made-up hash, which depends on the package and its version only, and a name that nix accepts.
fn base_name(kind: &str, name: &str, version: &str) -> String {
    let hash = Sha256::digest(format!("{kind} {name} {version}"));
    let hash: String = hash.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    let plain = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
    let rest: String = format!("{name}-{version}").chars().map(|c| if plain(c) { c } else { '-' }).collect();
    format!("{hash}-{rest}")
}

/// Takes away what a store does not know: set-user-id bits, and folders that only root may read.
fn readable(path: &Path) -> Result<()> {
    let found = path.symlink_metadata()?;
    if found.is_symlink() {
        return Ok(());
    }
    let executable = found.permissions().mode() & 0o100 != 0;
    let mode = if executable || found.is_dir() { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            readable(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_store_path_names() {
        let name = base_name("out", "libstdc++6", "1:12.2.0-14~deb12u1");
        assert_eq!(name, base_name("out", "libstdc++6", "1:12.2.0-14~deb12u1"));
        let (hash, rest) = name.split_once('-').unwrap();
        assert_eq!(hash.len(), 32);
        assert!(hash.bytes().all(|byte| ALPHABET.contains(&byte)));
        assert_eq!(rest, "libstdc++6-1-12.2.0-14-deb12u1");
        assert_ne!(name, base_name("drv", "libstdc++6", "1:12.2.0-14~deb12u1"));
    }

    #[test]
    fn the_registration_has_the_order_that_nix_reads() {
        let path = StorePath {
            package: "a".to_owned(),
            path: "/p/a".to_owned(),
            deriver: "/p/a.drv".to_owned(),
            references: vec!["/p/b".to_owned(), "/p/a".to_owned()],
        };
        assert_eq!(path.registration("00ff", 7), "/p/a\n00ff\n7\n/p/a.drv\n2\n/p/b\n/p/a\n");
    }
}
