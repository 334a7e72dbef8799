//! The files beside the artifacts of a history.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::Path;

use granary_nix::realisation::{BuildTraceKey, DrvOutput};
use granary_nix::{BuildId, CacheInfo, DebugInfo, Extra, Hash, HashPart, NarInfo, StorePath};

use super::{History, directory};
use crate::extras::list;
use crate::tree::disk::{self, power};
use crate::tree::{Tree, TreeError};
use crate::verify::verify_tree;

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
            let is_there = fs::read(tree.extra_path(&log)).is_ok_and(|text| text == LOGS[1].as_bytes());
            if !is_there {
                LOGS.iter().try_for_each(|text| replace(tree, &log, None, text))?;
            }
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

/// What a log is, one after the other: it may come again with other bytes.
const LOGS: [&str; 2] = ["what the build wrote", "what it wrote again"];

fn put(tree: &Tree, extra: &Extra, artifact: Option<&HashPart>, text: &str) -> Result<(), TreeError> {
    if tree.has_extra(extra) { Ok(()) } else { replace(tree, extra, artifact, text) }
}

fn replace(tree: &Tree, extra: &Extra, artifact: Option<&HashPart>, text: &str) -> Result<(), TreeError> {
    let file = tree.temp();
    disk::write(file.path(), text.as_bytes()).map_err(TreeError::io("write", file.path()))?;
    let left = tree.put_extra(extra, artifact, file)?;
    assert!(left.is_none(), "{extra:?} belongs to something that is published");
    Ok(())
}

/// How many of so many changes are kept.
type Lose = fn(usize) -> usize;

/// A log comes again with other bytes, and every attempt ends at another step, until one does not; then it goes, and somebody
/// puts another one there. Whatever is there is held to what was written, or believed. `lose`: the machine stops with the process,
/// and of so many names that were changed in a directory keeps as many as this says.
fn put_again(at: &Path, lose: Option<Lose>) {
    let history = History { beside: true, ..History::new(1) };
    history.play(at, &RefCell::default()).unwrap();
    let open = || Tree::open(at, &CacheInfo::default()).unwrap();
    let tree = open();
    let published = history.artifacts.iter().find(|(info, _)| tree.holds(&info.store_path.hash_part()));
    let log = Extra::log(published.unwrap().0.deriver.clone().unwrap()).unwrap();
    let path = tree.extra_path(&log);
    drop(tree);
    let faults = || {
        let faults = verify_tree(at, &history.keys()).unwrap().faults;
        faults.into_iter().map(|fault| fault.path).collect::<Vec<_>>()
    };
    let replace = |tree: &Tree, text: &str| replace(tree, &log, None, text);
    let mut steps = 0;
    let tree = loop {
        let tree = open();
        replace(&tree, "before it").unwrap();
        let text = format!("attempt {steps}");
        let (result, off) = power::run(steps, || replace(&tree, &text));
        if let Some(lose) = lose {
            off.lose_unsynced(lose);
        }
        assert_eq!(faults(), [""; 0], "ended before step {steps}");
        let now = fs::read(&path).unwrap();
        if result.is_ok() {
            assert_eq!(now, text.as_bytes());
            break tree;
        }
        assert!(now == b"before it" || now == text.as_bytes(), "whole, as it is or was");
        steps += 1;
    };
    assert!(steps >= 5, "{steps} steps");
    // Its checksum may not have come so far.
    replace(&tree, "attempt W").unwrap();
    fs::write(&path, "attempt X").unwrap();
    assert_eq!(faults(), [log.file_name()], "it is held to what was written");
    tree.drop_extra(&log, None).unwrap();
    fs::write(&path, "attempt Y").unwrap();
    assert_eq!(faults(), [""; 0], "nothing is known of what is gone");
    // One that was read before another took its name.
    let before = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    put(&tree, &log, None, "attempt Z").unwrap();
    tree.seal_extra(&log, &before, Hash::of(b"attempt Y"));
    assert_eq!(faults(), [""; 0], "it is not held to what another one was");
}

/// The process ends; the machine stops, and loses every name that it can, or none.
const ENDS: [Option<Lose>; 3] = [None, Some(|_| 0), Some(|all| all - 1)];

#[test]
fn a_log_that_comes_again_with_other_bytes_is_not_taken_for_rotten() {
    for lose in ENDS {
        put_again(directory().path(), lose);
    }
}

#[test]
fn nor_is_it_where_the_filesystem_keeps_no_checksum_with_a_file() {
    for lose in ENDS {
        let at = directory();
        power::on(power::Filesystem::WithoutAttributes, || put_again(at.path(), lose));
        assert!(at.path().join(".granary/checksums").is_dir());
    }
}
