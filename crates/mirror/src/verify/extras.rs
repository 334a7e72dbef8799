//! The check of the files beside artifacts.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use granary_nix::{Extra, ExtraKind, HashPart, NarInfo, PublicKeys, Trust};

use super::beside::{self, AtOnce, Place};
use super::outcome::{Finding, Kind};
use super::workers::on_all_cores;
use crate::extras::keys_of;

/// What was found beside the artifacts.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Files, good or bad, with the logs.
    pub(super) files: u64,
    /// Logs. Nobody can tell whether they are true, only whether they are what was written.
    pub(super) logs: u64,
    pub(super) faults: Vec<Finding>,
    pub(super) notes: Vec<Finding>,
}

/// Checks all files beside artifacts. `good` are the narinfos of the tree that hold. The NAR of each listing is read for it.
pub(super) fn check_extras(directory: &Path, good: &[(String, NarInfo)], trust: &Trust) -> Beside {
    let keys = keys_of(trust);
    let tree = Tree {
        directory,
        artifacts: good.iter().map(|(_, info)| (info.store_path.hash_part(), info)).collect(),
        keys: &keys,
    };
    let mut beside = Beside::default();
    let mut extras = Vec::new();
    for name in names(directory) {
        // Nix 2.34 has `%21` in the name of a realisation's file.
        match Extra::parse(&name.replace("%21", "!")) {
            // A cache that Nix wrote has other names for some.
            Ok(extra) => extras.push((name, extra)),
            Err(_) => beside.notes.push(Finding::new(name, Kind::Stray, "not a file of a binary cache")),
        }
    }
    beside.files = extras.len() as u64;
    beside.logs = extras.iter().filter(|(_, extra)| extra.kind() == ExtraKind::Log).count() as u64;
    for problem in on_all_cores(&extras, |(name, extra)| tree.problem(name, extra)).into_iter().flatten() {
        match problem {
            Problem::Fault(finding) => beside.faults.push(finding),
            Problem::Note(finding) => beside.notes.push(finding),
        }
    }
    beside
}

enum Problem {
    Fault(Finding),
    Note(Finding),
}

struct Tree<'t> {
    directory: &'t Path,
    artifacts: HashMap<HashPart, &'t NarInfo>,
    keys: &'t PublicKeys,
}

impl Tree<'_> {
    fn problem(&self, name: &str, extra: &Extra) -> Option<Problem> {
        let kind = match extra {
            Extra::Listing(hash) if !self.artifacts.contains_key(hash) => {
                let message = "no artifact of the tree that holds has this listing";
                return Some(Problem::Note(Finding::new(name, Kind::Orphan, message)));
            }
            Extra::Listing(_) => Kind::Listing,
            Extra::Log(_) => Kind::Log,
            Extra::DebugInfo(_) => Kind::DebugInfo,
            Extra::Realisation(_) | Extra::BuildTrace(_) => Kind::Realisation,
        };
        let info = if let Extra::Listing(hash) = extra { self.artifacts.get(hash).copied() } else { None };
        let place = Place { directory: self.directory, keys: self.keys, info, distrusts: true };
        let flaw = beside::read(extra, name, &place, &mut AtOnce).err()?;
        Some(Problem::Fault(Finding::new(name, kind, flaw.to_string())))
    }
}

/// The names of all files that stand where such files do, as they are in the cache.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = files(directory, "");
    names.retain(|name| Path::new(name).extension().is_some_and(|extension| extension == "ls"));
    for inner in ["log/", "debuginfo/", "realisations/"] {
        names.extend(files(&directory.join(inner), inner));
    }
    let traces = "build-trace-v2/";
    for derivation in files(&directory.join(traces), traces) {
        let inner = directory.join(&derivation);
        if inner.is_dir() {
            names.extend(files(&inner, &format!("{derivation}/")));
        } else {
            names.push(derivation);
        }
    }
    names
}

/// What is in a directory, each behind `prefix`; nothing when it is not there.
fn files(directory: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| format!("{prefix}{}", entry.file_name().to_string_lossy())).collect()
}
