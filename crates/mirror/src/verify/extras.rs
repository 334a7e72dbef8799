//! The check of the files beside artifacts.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use granary_nix::listing::Listing;
use granary_nix::{BuildId, DebugInfo, Extra, ExtraKind, HashPart, NarInfo, PublicKeys, Trust};

use super::outcome::{Finding, Kind};
use super::workers::on_all_cores;
use crate::extras::{check, keys_of, list, most_bytes};

/// What was found beside the artifacts.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Files, good or bad, with the logs.
    pub(super) files: u64,
    /// Logs. Nobody can tell whether they are true.
    pub(super) logs: u64,
    pub(super) faults: Vec<Finding>,
    pub(super) notes: Vec<Finding>,
}

/// Checks all files beside artifacts. `good` are the narinfos of the tree that hold, and `nars` the names of the NAR files,
/// `nar/…`. The NAR of each listing is read for it.
pub(super) fn check_extras(
    directory: &Path,
    good: &[(String, NarInfo)],
    nars: &[String],
    trust: &Trust,
) -> Beside {
    let keys = keys_of(trust);
    let tree = Tree {
        directory,
        artifacts: good.iter().map(|(_, info)| (info.store_path.hash_part(), info)).collect(),
        nars: nars.iter().map(String::as_str).collect(),
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
    nars: HashSet<&'t str>,
    keys: &'t PublicKeys,
}

impl Tree<'_> {
    fn problem(&self, name: &str, extra: &Extra) -> Option<Problem> {
        let kind = match extra {
            Extra::Listing(hash) if !self.artifacts.contains_key(hash) => {
                let message = "no artifact of the tree that holds has this listing";
                return Some(Problem::Note(Finding::new(name, Kind::Orphan, message)));
            }
            Extra::Log(_) => return None,
            Extra::Listing(_) => Kind::Listing,
            Extra::DebugInfo(_) => Kind::DebugInfo,
            Extra::Realisation(_) | Extra::BuildTrace(_) => Kind::Realisation,
        };
        let message = self.fault(extra, &self.directory.join(name))?;
        Some(Problem::Fault(Finding::new(name, kind, message)))
    }

    /// What is wrong with a file.
    fn fault(&self, extra: &Extra, path: &Path) -> Option<String> {
        let most = most_bytes(extra.kind());
        let text = match fs::metadata(path).map(|file| file.len()) {
            Ok(length) if length > most => {
                return Some(format!("it has {length} bytes; {most} are the most"));
            }
            Ok(_) => fs::read(path),
            Err(error) => Err(error),
        };
        let text = match text {
            Ok(text) => text,
            Err(error) => return Some(error.to_string()),
        };
        let info = if let Extra::Listing(hash) = extra { self.artifacts.get(hash) } else { None };
        if let Err(bad) = check(extra, &text, self.keys, info.map(|info| info.nar_size)) {
            return Some(bad.to_string());
        }
        match (extra, info) {
            (Extra::Listing(_), Some(info)) => self.listing_fault(&text, info),
            (Extra::DebugInfo(id), _) => self.debug_info_fault(&text, id),
            _ => None,
        }
    }

    /// Compares a listing with the NAR itself. A NAR that cannot be read is a fault of its own, told elsewhere.
    fn listing_fault(&self, text: &[u8], info: &NarInfo) -> Option<String> {
        let nar: PathBuf = self.directory.join(&info.url);
        let made = list(&nar, info.compression, info.nar_size).ok()?;
        if made.as_bytes() == text {
            return None;
        }
        match (Listing::parse(text), Listing::parse(made.as_bytes())) {
            (Ok(there), Ok(made)) => made.difference(&there).map(|place| {
                let place = if place.is_empty() { "the root".to_owned() } else { format!("{place:?}") };
                format!("the listing is not that of the NAR: they differ at {place}")
            }),
            (Err(error), _) | (_, Err(error)) => Some(error.to_string()),
        }
    }

    fn debug_info_fault(&self, text: &[u8], id: &BuildId) -> Option<String> {
        let entry = DebugInfo::parse(text, id).ok()?;
        let there = self.nars.contains(entry.nar.as_str());
        (!there).then(|| format!("it names {}, which is not a NAR file of the tree", entry.nar))
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
