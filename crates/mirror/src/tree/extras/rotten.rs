//! The files beside artifacts, for whoever reads them again, and taking away what has rotted.

use std::fs::File;

use granary_nix::listing::Outline;
use granary_nix::{BuildId, Extra, Hash, HashPart, NarInfo};

use super::owners::outputs_in;
use super::read_listing;
use crate::tree::{Tree, TreeError, read, write};

impl Tree {
    /// The files that are there beside a published artifact, of which this is the narinfo; of the debug index, what the
    /// artifact's listing says.
    #[must_use]
    pub fn extras_beside(&self, info: &NarInfo) -> Vec<Extra> {
        let hash = info.store_path.hash_part();
        let listing = Extra::Listing(hash);
        let mut extras = read(&self.beside.realised).of(&hash);
        extras.extend(info.deriver.clone().and_then(|derivation| Extra::log(derivation).ok()));
        extras.extend(self.build_ids(&listing).into_iter().map(Extra::DebugInfo));
        extras.push(listing);
        extras.retain(|extra| self.has_extra(extra));
        extras
    }

    /// The artifact that the file belongs to, as far as its name or what is in memory tells.
    #[must_use]
    pub fn owner_of(&self, extra: &Extra) -> Option<HashPart> {
        match extra {
            Extra::Listing(hash) => Some(*hash),
            Extra::Realisation(_) | Extra::BuildTrace(_) => read(&self.beside.realised).owner(extra),
            Extra::Log(_) | Extra::DebugInfo(_) => None,
        }
    }

    /// Remembers what `file` is, which has been read and had no checksum, so that rot is told by it.
    pub fn seal_extra(&self, extra: &Extra, file: &File, checksum: Hash) {
        self.beside.checksums.add(&extra.file_name(), file, checksum);
    }

    /// The build ids that a listing of the tree has.
    pub(super) fn build_ids(&self, listing: &Extra) -> Vec<BuildId> {
        let outline = read_listing(&self.extra_path(listing)).and_then(|text| Outline::parse(&text).ok());
        outline.map(|outline| outline.build_ids).unwrap_or_default()
    }

    /// The realisations and build traces in the tree that belong to no artifact as far as is known.
    pub fn stray_outputs(&self) -> Result<Vec<Extra>, TreeError> {
        let mut extras = outputs_in(&self.layout)?;
        let realised = read(&self.beside.realised);
        extras.retain(|extra| !realised.has(extra));
        Ok(extras)
    }

    /// Removes a file that has rotted. If it belongs to a published artifact, that waits to be completed again.
    pub fn drop_extra(&self, extra: &Extra, artifact: Option<&HashPart>) -> Result<(), TreeError> {
        let _nothing_comes = write(&self.gate);
        self.remove_files(std::slice::from_ref(extra))?;
        if let Some(artifact) = artifact.filter(|artifact| self.holds(artifact)) {
            self.beside.published(*artifact);
        }
        Ok(())
    }
}
