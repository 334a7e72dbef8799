//! What caches are made of.

use std::path::Path;

use granary_nix::Hash;

/// A store path to be made: one file with `content`, and references to others.
#[derive(Clone)]
pub struct Artifact {
    pub path: String,
    pub content: Vec<u8>,
    pub references: Vec<String>,
}

impl Artifact {
    pub fn new(name: &str, seed: u64, content: Vec<u8>, references: &[&Self]) -> Self {
        let digest = Hash::of(format!("{name}-{seed}").as_bytes()).to_nix32();
        let path = format!("/nix/store/{}-{name}", &digest[..32]);
        Self { path, content, references: references.iter().map(|other| other.path.clone()).collect() }
    }

    /// So many bytes that no compression makes smaller, without references.
    pub fn sized(name: &str, size: usize) -> Self {
        Self::new(name, 0, noise(size), &[])
    }

    pub fn hash_part(&self) -> &str {
        &self.path[11..43]
    }

    /// The name of its narinfo.
    pub fn narinfo(&self) -> String {
        format!("{}.narinfo", self.hash_part())
    }
}

/// Bytes that no compression makes smaller.
pub fn noise(length: usize) -> Vec<u8> {
    (0_u64..).flat_map(|block| *Hash::of(&block.to_le_bytes()).as_bytes()).take(length).collect()
}

/// A library of this size, and an application that needs it.
pub fn library_and_app(size: usize) -> [Artifact; 2] {
    let library = Artifact::sized("library-1.0", size);
    let app = Artifact::new("app-1.0", 0, b"an application".to_vec(), &[&library]);
    [library, app]
}

/// One artifact for itself, one whose NAR file is to be damaged, and one that needs that.
pub fn good_bad_and_user() -> [Artifact; 3] {
    let (good, bad) = (Artifact::sized("good-1.0", 50_000), Artifact::sized("bad-1.0", 60_000));
    let user = Artifact::new("user-1.0", 0, b"needs bad".to_vec(), &[&bad]);
    [good, bad, user]
}

/// The name of the NAR file, as a narinfo says it.
pub fn nar_name(narinfo: &str) -> String {
    narinfo.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap().to_owned()
}

/// Changes one bit in the middle of a file; the bytes that it had.
pub fn flip(file: &Path) -> Vec<u8> {
    let genuine = std::fs::read(file).unwrap();
    let mut bytes = genuine.clone();
    bytes[genuine.len() / 2] ^= 1;
    std::fs::write(file, bytes).unwrap();
    genuine
}
