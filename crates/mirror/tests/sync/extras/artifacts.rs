//! Artifacts with something in them.

use granary_nix::{Compression, Hash, StorePath, served_nar_name};

use crate::common::Cache;
use crate::common::cache::xz;

/// A build id that [`debug`] has debug information of.
pub const BUILD_ID: &str = "3da4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c";
/// One of which nothing has any.
pub const OTHER_ID: &str = "4da4b1f1c8a3d5a2f3e0aa0c8a6f4d9a6f3d0b1c";

/// The member that a build id has.
pub fn member(id: &str) -> String {
    format!("lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..])
}

/// Adds an artifact of debug information.
pub fn debug(cache: &mut Cache, name: &str) -> StorePath {
    let member = member(BUILD_ID);
    let mut nar = words(&["nix-archive-1"]);
    for name in member.split('/') {
        nar.extend(words(&["(", "type", "directory", "entry", "(", "name", name, "node"]));
    }
    nar.extend(words(&["(", "type", "regular", "contents", "elf", ")"]));
    nar.extend(words(&[")"; 10]));
    with_nar(cache, name, &nar)
}

/// The listing of it.
pub fn debug_listing() -> String {
    let file = r#"{"type":"regular","size":3,"narOffset":824}"#.to_owned();
    let root = member(BUILD_ID)
        .rsplit('/')
        .fold(file, |inner, name| format!(r#"{{"type":"directory","entries":{{"{name}":{inner}}}}}"#));
    format!(r#"{{"version":1,"root":{root}}}"#)
}

/// The listing of an artifact of one file.
pub fn file_listing(size: usize) -> String {
    format!(r#"{{"version":1,"root":{{"type":"regular","size":{size},"narOffset":96}}}}"#)
}

/// A derivation.
pub fn derivation(name: &str) -> StorePath {
    crate::common::cache::store_path(&format!("{name}.drv"))
}

/// Adds an artifact with this archive.
pub fn with_nar(cache: &mut Cache, name: &str, nar: &[u8]) -> StorePath {
    let path = cache.add(name, &[]);
    let file = xz(nar);
    let artifact = cache.get(&path);
    artifact.info.url = served_nar_name(Hash::of(&file), Compression::Xz);
    artifact.info.file_hash = Some(Hash::of(&file));
    artifact.info.file_size = Some(file.len() as u64);
    artifact.info.nar_hash = Hash::of(nar);
    artifact.info.nar_size = nar.len() as u64;
    artifact.file = file;
    cache.sign(&path);
    path
}

fn words(words: &[&str]) -> Vec<u8> {
    let mut nar = Vec::new();
    for word in words {
        nar.extend((word.len() as u64).to_le_bytes());
        nar.extend(word.as_bytes());
        nar.resize(nar.len().next_multiple_of(8), 0);
    }
    nar
}
