//! The files beside the artifacts of a history.

use std::fs::File;

use granary_nix::realisation::{BuildTraceKey, DrvOutput};
use granary_nix::{BuildId, DebugInfo, Extra, Hash, HashPart, NarInfo, StorePath};

use super::History;
use crate::extras::list;
use crate::tree::disk;
use crate::tree::{Tree, TreeError};

/// An archive with debug information. Equal numbers give equal archives.
pub(super) fn nar(number: usize) -> Vec<u8> {
    let id = build_id(number);
    let (start, rest) = id.split_at(2);
    let names = ["lib", "debug", ".build-id", start, &format!("{rest}.debug")];
    let mut nar = words(&["nix-archive-1"]);
    for name in names {
        nar.extend(words(&["(", "type", "directory", "entry", "(", "name", name, "node"]));
    }
    nar.extend(words(&["(", "type", "regular", "contents", &format!("debug {number}").repeat(20), ")"]));
    nar.extend(words(&[")"; 10]));
    nar
}

/// The derivation of two artifacts each.
pub(super) fn derivation(seed: u64, number: usize) -> StorePath {
    let name = format!("{seed}-{}.drv", number / 2);
    let digest = Hash::of(name.as_bytes()).to_nix32();
    StorePath::parse_base_name(&format!("{}-d{name}", &digest[..32])).unwrap()
}

fn build_id(number: usize) -> String {
    Hash::of(&number.to_le_bytes()).to_hex()[..40].to_owned()
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

impl History {
    /// Puts everything there that is not yet beside what is published.
    pub(super) fn put_extras(&self, tree: &Tree) -> Result<(), TreeError> {
        for (info, _) in &self.artifacts {
            let hash = info.store_path.hash_part();
            let Some(published) = tree.published_narinfo(&hash) else { continue };
            let log = Extra::log(info.deriver.clone().unwrap()).unwrap();
            put(tree, &log, None, "what the build wrote")?;
            let [named_by_hash, named_by_path] = outputs(info);
            put(tree, &named_by_hash.0, Some(&hash), &named_by_hash.1)?;
            put(tree, &named_by_path.0, Some(&hash), &named_by_path.1)?;
            let path = tree.layout().served(&published.url);
            let listing = list(File::open(path).unwrap(), info.compression, info.nar_size).unwrap();
            let ids = granary_nix::listing::Outline::parse(listing.as_bytes()).unwrap().build_ids;
            let entry = DebugInfo { nar: published.url.clone() };
            let of = |id: &BuildId| (Extra::DebugInfo(*id), entry.to_text(id));
            let mut files = vec![(Extra::Listing(hash), listing)];
            files.extend(ids.iter().map(of));
            assert_eq!(files.len(), 2);
            files.retain(|(extra, _)| !tree.has_extra(extra));
            tree.write_extras(&hash, &files)?;
        }
        Ok(())
    }
}

/// A realisation and a build trace that name the artifact.
fn outputs(info: &NarInfo) -> [(Extra, String); 2] {
    let id = format!("{}!out", Hash::of(info.store_path.base_name().as_bytes()));
    let id: DrvOutput = id.parse().unwrap();
    let out = info.store_path.base_name();
    let realisation = format!(r#"{{"id":"{id}","outPath":"{out}","signatures":[]}}"#);
    let key = BuildTraceKey::new(info.deriver.clone().unwrap(), info.store_path.name()).unwrap();
    let trace = format!(r#"{{"outPath":"{out}","signatures":[]}}"#);
    [(Extra::Realisation(id), realisation), (Extra::BuildTrace(key), trace)]
}

fn put(tree: &Tree, extra: &Extra, artifact: Option<&HashPart>, text: &str) -> Result<(), TreeError> {
    if tree.has_extra(extra) {
        return Ok(());
    }
    let file = tree.temp();
    disk::write(file.path(), text.as_bytes()).map_err(TreeError::io("write", file.path()))?;
    let left = tree.put_extra(extra, artifact, file)?;
    assert!(left.is_none(), "{extra:?} belongs to something that is published");
    Ok(())
}
