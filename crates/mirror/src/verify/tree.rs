//! The check of a whole tree.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use granary_fetch::Fault;
use granary_nix::{CacheInfo, HashPart, NarInfo, StorePath, Trust};
use granary_placement::report::RefusalReason;

use super::artifact;
use super::extras::check_extras;
use super::outcome::{Finding, Kind, TreeCheck};
use super::workers::on_all_cores;
use crate::tree::Layout;

/// Directories that a binary cache may have besides `nar`.
const OTHER_DIRECTORIES: [&str; 4] = ["log", "debuginfo", "realisations", "build-trace-v2"];

/// Narinfos whose signatures are verified together.
const BATCH: usize = 64;

/// The tree could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}", path.display())]
pub struct VerifyError {
    path: PathBuf,
    source: io::Error,
}

/// Checks everything in the tree at `directory`, reading every NAR file once: each narinfo parses, has its hash part's
/// name and meets `trust`; its NAR file is there, with the stated FileHash, FileSize, NarHash and NarSize;
/// its references are in the tree or the catalog, whose narinfos are held to the same; no file is visible half-written; a
/// listing says what its NAR does, a debug index entry names a NAR of the tree, a realisation can be read, and each of them is
/// what was written, as far as that was remembered.
///
/// Blocks, and uses all cores. A tree that is written to meanwhile can show faults that are gone a moment later.
pub fn verify_tree(directory: &Path, trust: impl Into<Trust>) -> Result<TreeCheck, VerifyError> {
    let trust = trust.into();
    let layout = Layout::new(directory);
    let listing = Listing::read(&layout)?;
    let mut check = TreeCheck {
        artifacts: listing.narinfos.len() as u64,
        catalog: listing.catalog.len() as u64,
        notes: listing.strays.clone(),
        ..TreeCheck::default()
    };
    check.faults.extend(cache_info(&layout));

    let named =
        |prefix: &'static str| move |hash: &HashPart| (format!("{prefix}{}", hash.narinfo_name()), *hash);
    let mut files: Vec<(String, HashPart)> = listing.narinfos.iter().map(named("")).collect();
    files.extend(listing.catalog.iter().map(named(".granary/catalog/")));
    let mut good: Vec<(String, NarInfo)> = Vec::new();
    let batches: Vec<&[(String, HashPart)]> = files.chunks(BATCH).collect();
    let read = on_all_cores(&batches, |batch| artifact::read_narinfos(directory, batch, &trust));
    for (path, result) in read.into_iter().flatten() {
        match result {
            Ok(info) => good.push((path, info)),
            Err(fault) => check.faults.push(Finding::of(&path, fault)),
        }
    }
    let known: HashMap<HashPart, StorePath> =
        good.iter().map(|(_, info)| (info.store_path.hash_part(), info.store_path.clone())).collect();
    for (path, info) in &good {
        check.faults.extend(missing_references(path, info, &known));
    }

    good.retain(|(path, _)| !path.starts_with(".granary/"));
    let beside = check_extras(directory, &good, &trust);
    (check.extras, check.logs) = (beside.files, beside.logs);
    check.faults.extend(beside.faults);
    check.notes.extend(beside.notes);
    let named: HashSet<&str> = good.iter().map(|(_, info)| info.url.as_str()).collect();
    let orphans: Vec<&String> = listing.nars.iter().filter(|nar| !named.contains(nar.as_str())).collect();
    for (bytes, fault) in on_all_cores(&good, |(path, info)| nar_file(directory, path, info)) {
        check.bytes += bytes;
        check.faults.extend(fault);
    }
    for (whole, finding) in on_all_cores(&orphans, |nar| orphan(directory, nar)) {
        if whole { check.notes.push(finding) } else { check.faults.push(finding) }
    }
    check.faults.sort_unstable();
    check.notes.sort_unstable();
    Ok(check)
}

/// The names in a tree.
#[derive(Default)]
struct Listing {
    narinfos: Vec<HashPart>,
    catalog: Vec<HashPart>,
    /// As they are named in the cache: `nar/…`.
    nars: Vec<String>,
    strays: Vec<Finding>,
}

impl Listing {
    fn read(layout: &Layout) -> Result<Self, VerifyError> {
        let mut listing = Self::default();
        for name in names(layout.directory())? {
            let text = name.to_string_lossy();
            if let Some(hash) = crate::tree::hash_of(&name) {
                listing.narinfos.push(hash);
            } else if !is_of_a_cache(&text) {
                listing.stray(&text);
            }
        }
        for name in names_if_any(&layout.catalog())? {
            match crate::tree::hash_of(&name) {
                Some(hash) => listing.catalog.push(hash),
                None => listing.stray(&format!(".granary/catalog/{}", name.to_string_lossy())),
            }
        }
        for name in names_if_any(&layout.nars())? {
            listing.nars.push(format!("nar/{}", name.to_string_lossy()));
        }
        Ok(listing)
    }

    fn stray(&mut self, path: &str) {
        self.strays.push(Finding::new(path, Kind::Stray, "not a file of a binary cache"));
    }
}

fn is_of_a_cache(name: &str) -> bool {
    let extension = |wanted: &str| Path::new(name).extension().is_some_and(|extension| extension == wanted);
    matches!(name, "nar" | "nix-cache-info" | ".granary" | "lost+found")
        || OTHER_DIRECTORIES.contains(&name)
        || extension("ls")
}

/// The names in a directory.
fn names(path: &Path) -> Result<Vec<OsString>, VerifyError> {
    let entries =
        fs::read_dir(path).and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect());
    entries.map_err(|source| VerifyError { path: path.to_owned(), source })
}

/// The same; a directory that is not there has none.
fn names_if_any(path: &Path) -> Result<Vec<OsString>, VerifyError> {
    match names(path) {
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result,
    }
}

fn cache_info(layout: &Layout) -> Option<Finding> {
    let message = match fs::read(layout.cache_info()) {
        Ok(text) => CacheInfo::parse(&text).err()?.to_string(),
        Err(error) => error.to_string(),
    };
    Some(Finding::new("nix-cache-info", Kind::CacheInfo, message))
}

fn missing_references(path: &str, info: &NarInfo, known: &HashMap<HashPart, StorePath>) -> Vec<Finding> {
    let absent =
        info.references.iter().filter(|reference| known.get(&reference.hash_part()) != Some(reference));
    let finding = |reference: &StorePath| {
        let message = format!("{reference} is neither in the tree nor in the catalog");
        Finding::new(path, RefusalReason::MissingReference, message)
    };
    absent.map(finding).collect()
}

/// Checks the NAR file that a narinfo of the tree names; how many bytes were read, and the fault.
fn nar_file(directory: &Path, path: &str, info: &NarInfo) -> (u64, Option<Finding>) {
    let size = fs::metadata(directory.join(&info.url)).map(|file| file.len()).unwrap_or_default();
    match artifact::read_nar(directory, info, |file| file) {
        Ok(Ok(_)) => (size, None),
        Ok(Err(fault)) => (size, Some(Finding::of(path, fault))),
        Err(error) => {
            let message = format!("{}: {error}", info.url);
            (size, Some(Finding::new(path, RefusalReason::Disk, message)))
        }
    }
}

/// A NAR file that no good narinfo names: harmless when it is whole, which its name tells. Whether it is, and the finding.
fn orphan(directory: &Path, nar: &str) -> (bool, Finding) {
    let read = |file| artifact::is_named_by_its_bytes(file, nar);
    match File::open(directory.join(nar)).map(read) {
        Ok(Ok(())) => {
            (true, Finding::new(nar, Kind::Orphan, "no narinfo in the tree that holds names this NAR file"))
        }
        Ok(Err(Fault { reason: RefusalReason::FileHash, message })) => {
            (false, Finding::new(nar, Kind::HalfWritten, message))
        }
        Ok(Err(fault)) => (false, Finding::of(nar, fault)),
        Err(error) => (false, Finding::new(nar, RefusalReason::Disk, error.to_string())),
    }
}
