//! Which realisations and build traces belong to an artifact: their names do not tell.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use granary_nix::realisation::{BuildTraceEntry, MAX_TEXT, Realisation};
use granary_nix::{Extra, HashPart};

use super::read_bounded;
use crate::tree::{Layout, TreeError};

/// The realisations and build traces in the tree by the artifact that they name. In memory; content-addressed derivations
/// are few.
#[derive(Debug, Default)]
pub(in crate::tree) struct Realised(HashMap<HashPart, Vec<Extra>>);

impl Realised {
    /// Reads the directories. What is none of ours is left alone.
    pub(in crate::tree) fn load(layout: &Layout) -> Result<Self, TreeError> {
        let mut realised = Self::default();
        for extra in outputs_in(layout)? {
            let text = read_bounded(&layout.served(&extra.file_name()), MAX_TEXT);
            if let Some(artifact) = text.and_then(|text| artifact_named(&extra, &text)) {
                realised.insert(artifact, &extra);
            }
        }
        Ok(realised)
    }

    /// Whether any artifact has it.
    pub(super) fn has(&self, extra: &Extra) -> bool {
        self.0.values().flatten().any(|other| other == extra)
    }

    /// The artifact that has it, as far as is known.
    pub(super) fn owner(&self, extra: &Extra) -> Option<HashPart> {
        self.0.iter().find(|(_, extras)| extras.contains(extra)).map(|(artifact, _)| *artifact)
    }

    pub(in crate::tree) fn insert(&mut self, artifact: HashPart, extra: &Extra) {
        if !matches!(extra, Extra::Realisation(_) | Extra::BuildTrace(_)) {
            return;
        }
        let extras = self.0.entry(artifact).or_default();
        if !extras.contains(extra) {
            extras.push(extra.clone());
        }
    }

    pub(in crate::tree) fn of(&self, artifact: &HashPart) -> Vec<Extra> {
        self.0.get(artifact).cloned().unwrap_or_default()
    }

    pub(in crate::tree) fn remove(&mut self, artifact: &HashPart) {
        self.0.remove(artifact);
    }
}

/// The artifact that a realisation or a build trace names; `None` for anything else.
#[must_use]
pub fn artifact_named(extra: &Extra, text: &[u8]) -> Option<HashPart> {
    let path = match extra {
        Extra::Realisation(_) => Realisation::parse(text).ok()?.out_path,
        Extra::BuildTrace(_) => BuildTraceEntry::parse(text).ok()?.out_path,
        Extra::Listing(_) | Extra::Log(_) | Extra::DebugInfo(_) => return None,
    };
    Some(path.hash_part())
}

/// The realisations and build traces in the tree, under the names that we give them.
pub(super) fn outputs_in(layout: &Layout) -> Result<Vec<Extra>, TreeError> {
    let mut paths = files(&layout.served("realisations"))?;
    for derivation in files(&layout.served("build-trace-v2"))? {
        paths.extend(files(&derivation)?);
    }
    let named = |path: PathBuf| {
        let name = path.strip_prefix(layout.directory()).ok().and_then(Path::to_str)?;
        Extra::parse(name).ok().filter(|extra| extra.file_name() == name)
    };
    Ok(paths.into_iter().filter_map(named).collect())
}

/// What is in a directory; nothing when it is not there or is none.
fn files(directory: &Path) -> Result<Vec<PathBuf>, TreeError> {
    match fs::read_dir(directory) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()).map_err(TreeError::io("list", directory)))
            .collect(),
        Err(_) => Ok(Vec::new()),
    }
}
