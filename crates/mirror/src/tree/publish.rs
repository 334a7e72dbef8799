//! Making an artifact visible.

use granary_nix::{Hash, NarInfo, StorePath};
use jiff::Timestamp;

use super::durable::place;
use super::index::Held;
use super::{TempFile, Tree, TreeError, canonical, disk, read, write};

/// What was found in a NAR file, which is what its narinfo then says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents {
    /// SHA-256 of its bytes.
    pub file_hash: Hash,
    /// How many there are.
    pub file_size: u64,
}

impl Tree {
    /// Publishes an artifact whose signature, hashes and sizes have been verified: syncs the NAR file, gives it its name,
    /// then writes the narinfo, in our form. Each step lasts before the next begins.
    ///
    /// Fails when a reference is neither published nor in the catalog; nothing is visible then.
    pub fn publish(&self, info: &NarInfo, contents: &Contents, nar: TempFile) -> Result<(), TreeError> {
        if let Some(reference) = self.first_absent(info) {
            return Err(TreeError::ReferenceMissing {
                artifact: info.store_path.clone(),
                reference: reference.clone(),
            });
        }
        let info = canonical(info, Some(contents));
        let hash = info.store_path.hash_part();
        let text = info.to_text();
        disk::sync(nar.path()).map_err(TreeError::io("sync", nar.path()))?;
        place(nar, &self.layout.served(&info.url))?;
        self.scratch.write(&self.layout.narinfo(&hash), text.as_bytes())?;
        if let Some(held) = Held::of(&info, text.len()) {
            write(&self.index).insert(hash, held, Some(Timestamp::now()));
        }
        // The catalog may have named the NAR file otherwise, by an upstream's word for it.
        self.put_in_catalog([&info])
    }

    /// The first reference that is neither published nor in the catalog. In memory.
    #[must_use]
    pub fn first_absent<'i>(&self, info: &'i NarInfo) -> Option<&'i StorePath> {
        let (index, catalog) = (read(&self.index), read(&self.catalog));
        info.references.iter().find(|reference| {
            let hash = reference.hash_part();
            **reference != info.store_path && index.get(&hash).is_none() && !catalog.has(&hash)
        })
    }
}
