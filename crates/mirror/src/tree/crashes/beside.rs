//! The files beside the artifacts of a history.

use std::cell::RefCell;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

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

/// A filesystem that keeps no checksum with a file; only root can mount it.
struct WithoutAttributes(tempfile::TempDir);

impl WithoutAttributes {
    fn mount() -> Option<Self> {
        let at = directory();
        let mount = || Command::new("mount").args(["-t", "ramfs", "ramfs"]).arg(at.path()).status();
        let mounted = nix::unistd::geteuid().is_root() && mount().unwrap().success();
        mounted.then(|| Self(at))
    }
}

impl Drop for WithoutAttributes {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A log comes again with other bytes, and every attempt ends at another step, until one does not; then it goes, and somebody
/// puts another one there. Whatever is there is held to what was written, or believed.
fn put_again(at: &Path) {
    let history = History { beside: true, ..History::new(1) };
    history.play(at, &RefCell::default()).unwrap();
    let tree = Tree::open(at, &CacheInfo::default()).unwrap();
    let published = history.artifacts.iter().find(|(info, _)| tree.holds(&info.store_path.hash_part()));
    let log = Extra::log(published.unwrap().0.deriver.clone().unwrap()).unwrap();
    let path = tree.extra_path(&log);
    let faults = || {
        let faults = verify_tree(at, &history.keys()).unwrap().faults;
        faults.into_iter().map(|fault| fault.path).collect::<Vec<_>>()
    };
    let mut steps = 0;
    loop {
        let file = tree.temp();
        let text = format!("attempt {steps}");
        fs::write(file.path(), &text).unwrap();
        let (result, _) = power::run(steps, || tree.put_extra(&log, None, file));
        assert_eq!(faults(), [""; 0], "ended before step {steps}");
        if result.is_ok() {
            assert_eq!(fs::read(&path).unwrap(), text.as_bytes());
            break;
        }
        steps += 1;
    }
    assert!(steps >= 3, "{steps} steps");
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

#[test]
fn a_log_that_comes_again_with_other_bytes_is_not_taken_for_rotten() {
    put_again(directory().path());
}

#[test]
fn nor_is_it_where_the_filesystem_keeps_no_checksum_with_a_file() {
    let Some(disk) = WithoutAttributes::mount() else { return println!("skipped: only root can mount") };
    put_again(disk.0.path());
    assert!(disk.0.path().join(".granary/checksums").is_dir());
}
