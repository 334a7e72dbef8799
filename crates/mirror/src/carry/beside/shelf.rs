//! What an origin has beside its artifacts, where the artifacts do not tell.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use granary_nix::{DebugInfo, Extra, ExtraKind, HashPart, NarInfo};

use super::super::{Origin, Target};
use super::medium;
use crate::config::Extras;
use crate::extras::most_bytes;
use crate::tree::artifact_named;

/// An origin, and the realisations, build traces and debug index entries of a directory. A cache behind HTTP has no list of them.
#[derive(Debug)]
pub(in crate::carry) struct Shelf<'o> {
    pub(super) origin: &'o Origin,
    /// The kinds of files that are carried.
    pub(super) wants: Extras,
    /// The files, and under which name each stands there.
    names: BTreeMap<Extra, String>,
    /// Those that name each artifact.
    outputs: HashMap<HashPart, Vec<Extra>>,
    /// How many entries of the debug index each NAR has, by the name that the origin has for it.
    indexed: HashMap<String, u64>,
}

/// What the files beside some artifacts need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::carry) struct Weight {
    /// Bytes in them.
    pub(in crate::carry) bytes: u64,
    /// How many they are.
    pub(in crate::carry) files: u64,
    /// How many of them are listings, which stand beside the narinfos.
    pub(in crate::carry) listings: u64,
}

impl<'o> Shelf<'o> {
    /// Looks through the origin, if that can be done. What cannot be read there belongs to nothing.
    pub(in crate::carry) fn of(origin: &'o Origin, wants: Extras) -> Self {
        let (names, outputs, indexed) = (BTreeMap::new(), HashMap::new(), HashMap::new());
        let mut shelf = Self { origin, wants, names, outputs, indexed };
        let Origin::Directory(directory) = origin else { return shelf };
        if wants.has(ExtraKind::Realisation) {
            let traces = medium::names(directory, "build-trace-v2");
            let traces = traces.iter().flat_map(|inner| medium::names(directory, inner));
            for name in medium::names(directory, "realisations").into_iter().chain(traces) {
                shelf.output(directory, name);
            }
        }
        if wants.has(ExtraKind::DebugInfo) {
            for name in medium::names(directory, "debuginfo") {
                if let Some(entry) = entry(directory, &name) {
                    *shelf.indexed.entry(entry.nar).or_default() += 1;
                }
            }
        }
        shelf
    }

    fn output(&mut self, directory: &Path, name: String) {
        // Nix 2.34 has `%21` in the file's name itself.
        let Ok(extra) = Extra::parse(&name.replace("%21", "!")) else { return };
        let text = medium::read(directory, &name, most_bytes(extra.kind())).ok().flatten();
        let Some(artifact) = text.and_then(|text| artifact_named(&extra, &text)) else { return };
        // One that has both names says the same twice.
        if !self.names.contains_key(&extra) {
            self.outputs.entry(artifact).or_default().push(extra.clone());
            self.names.insert(extra, name);
        }
    }

    /// The realisations and build traces that name an artifact.
    pub(super) fn outputs_of(&self, artifact: &HashPart) -> impl Iterator<Item = &Extra> {
        self.outputs.get(artifact).into_iter().flatten()
    }

    /// Whether there is debug information of a NAR of the origin.
    pub(super) fn indexes(&self, nar: &str) -> bool {
        self.indexed.contains_key(nar)
    }

    /// The name that a file has in the origin.
    pub(super) fn name_of(&self, extra: &Extra) -> String {
        self.names.get(extra).cloned().unwrap_or_else(|| extra.file_name())
    }

    /// What the files beside these artifacts need that the target does not have, as far as that can be told before they are
    /// read.
    pub(in crate::carry) fn weigh(&self, target: &Target, infos: &[NarInfo]) -> Weight {
        let mut weight = Weight::default();
        let Origin::Directory(directory) = self.origin else { return weight };
        for wanted in super::wanted(self, infos) {
            let there = target.directory().join(wanted.extra.file_name());
            let size = std::fs::symlink_metadata(directory.join(self.name_of(&wanted.extra)));
            if let Ok(size) = size
                && !there.exists()
            {
                weight.bytes = weight.bytes.saturating_add(size.len());
                weight.files += 1;
                weight.listings += u64::from(wanted.extra.kind() == ExtraKind::Listing);
            }
        }
        let nars: HashSet<&str> = infos.iter().map(|info| info.url.as_str()).collect();
        weight.files += nars.iter().filter_map(|nar| self.indexed.get(*nar)).sum::<u64>();
        weight
    }
}

/// An entry of the debug index, under whatever name Nix gave it.
fn entry(directory: &Path, name: &str) -> Option<DebugInfo> {
    let Ok(Extra::DebugInfo(id)) = Extra::parse(name) else { return None };
    let text = medium::read(directory, name, most_bytes(ExtraKind::DebugInfo)).ok().flatten()?;
    DebugInfo::parse(&text, &id).ok()
}
