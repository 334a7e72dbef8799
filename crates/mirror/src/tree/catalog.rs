//! The catalog: the verified narinfos of everything that a policy wants, so that this mirror answers for an artifact that
//! another one holds.
//!
//! nginx looks for narinfos here and nowhere else. So whatever is published is in the catalog too, and says there what it
//! says in the tree: publication sees to it, opening a tree completes a catalog that was lost, and pruning spares what is
//! published.

mod entries;

use std::collections::HashSet;

use granary_fetch::Expected;
use granary_nix::{HashPart, NarInfo, StorePath};

use super::durable::{read_narinfo, remove_if_there, some_at_once, sync_directory};
use super::index::CatalogEntry;
use super::order::references_first;
use super::{Contents, Tree, TreeError, canonical, read, write};
use crate::compact::HashParts;

pub use entries::Signed;
pub(super) use entries::{Catalog, Digests};

/// A narinfo that has to be written.
struct Changed {
    info: NarInfo,
    text: String,
    digests: Digests,
}

/// Whether the NAR file has another name than before.
pub(super) fn is_renamed(before: &Expected, now: &Expected) -> bool {
    (before.file_hash, before.compression) != (now.file_hash, now.compression)
}

impl Tree {
    /// Whether the catalog has the artifact. In memory.
    #[must_use]
    pub fn in_catalog(&self, hash: &HashPart) -> bool {
        read(&self.catalog).has(hash)
    }

    /// What the catalog says about an artifact's NAR file. In memory.
    #[must_use]
    pub fn catalog_entry(&self, hash: &HashPart) -> Option<CatalogEntry> {
        read(&self.catalog).entry(hash)
    }

    /// What is signed in the narinfo that the catalog has. In memory.
    #[must_use]
    pub fn catalog_signed(&self, hash: &HashPart) -> Option<Signed> {
        read(&self.catalog).digests(hash).map(|digests| digests.signed)
    }

    /// Whether the catalog has this narinfo, in our form. In memory.
    #[must_use]
    pub fn is_in_catalog(&self, info: &NarInfo) -> bool {
        self.changed(info).is_none()
    }

    /// Everything that the catalog has, in no particular order. In memory.
    #[must_use]
    pub fn catalog_hashes(&self) -> Vec<HashPart> {
        read(&self.catalog).hashes().collect()
    }

    /// What these need and is not published, be it that it rotted, or that another mirror holds it. Found by what refers to it,
    /// so that nothing of its own has to be readable.
    #[must_use]
    pub fn torn(&self, all: impl Iterator<Item = HashPart>) -> Vec<StorePath> {
        // To look through a whole closure is only worth it when there is a hole in something.
        if !read(&self.index).has_gaps() {
            return Vec::new();
        }
        let mut seen: HashSet<HashPart> = all.collect();
        let mut torn = Vec::new();
        self.walk(seen.iter().copied().collect(), |reference| {
            let is_new = seen.insert(reference.hash_part());
            torn.extend((is_new && !self.holds(&reference.hash_part())).then_some(reference));
            is_new
        });
        torn
    }

    /// These, and all that they refer to, as far as their narinfos are here.
    #[must_use]
    pub fn closed(&self, mut all: HashParts) -> HashParts {
        self.walk(all.iter().collect(), |reference| all.insert(reference.hash_part()));
        all
    }

    /// Walks along the references of these, and of every reference for which `enters` says so.
    fn walk(&self, mut open: Vec<HashPart>, mut enters: impl FnMut(StorePath) -> bool) {
        while let Some(hash) = open.pop() {
            // The references are signed: both say the same. One of them may be unreadable.
            let info = self.catalog_narinfo(&hash).or_else(|| self.published_narinfo(&hash));
            for reference in info.map(|info| info.references).unwrap_or_default() {
                let hash = reference.hash_part();
                if enters(reference) {
                    open.push(hash);
                }
            }
        }
    }

    /// The narinfo that the catalog has for the artifact; its signature has to be verified again by whoever relies on it.
    #[must_use]
    pub fn catalog_narinfo(&self, hash: &HashPart) -> Option<NarInfo> {
        self.in_catalog(hash).then(|| read_narinfo(&self.layout.catalog_narinfo(hash)))?
    }

    /// Puts verified narinfos into the catalog, in our form and in their order, which should be references first: clients
    /// can see each as soon as it is written. What is there already is not written again.
    pub fn put_in_catalog<'i>(&self, infos: impl IntoIterator<Item = &'i NarInfo>) -> Result<(), TreeError> {
        let changed = infos.into_iter().filter_map(|info| self.changed(info));
        some_at_once(changed, |some| self.write_in_catalog(some))
    }

    /// The catalog's narinfo for this one, if it has another or none.
    fn changed(&self, info: &NarInfo) -> Option<Changed> {
        let info = canonical(info, self.found_in(info).as_ref());
        let text = info.to_text();
        let digests = Digests::of(&info, &text);
        let known = read(&self.catalog).digests(&info.store_path.hash_part());
        (known.map(|known| known.text) != Some(digests.text)).then_some(Changed { info, text, digests })
    }

    fn write_in_catalog(&self, some: &[Changed]) -> Result<(), TreeError> {
        let renamed = |Changed { info, .. }: &&Changed| {
            let hash = info.store_path.hash_part();
            let before = read(&self.catalog).entry(&hash)?.expected;
            is_renamed(&before, &Expected::from(info)).then_some((hash, before))
        };
        let renamed: Vec<_> = some.iter().filter_map(|changed| renamed(&changed)).collect();
        self.note_names(renamed.iter().map(|(hash, before)| (hash, *before)));
        let path = |info: &NarInfo| self.layout.catalog_narinfo(&info.store_path.hash_part());
        let files = some.iter().map(|Changed { info, text, .. }| (path(info), text));
        self.scratch.place_all(&self.layout.catalog(), files)?;
        // Only now: what is in memory is what publication relies on.
        let mut catalog = write(&self.catalog);
        for Changed { info, text: _, digests } in some {
            catalog.insert(info.store_path.hash_part(), *digests, info.into());
        }
        Ok(())
    }

    /// Puts into the catalog what is published and not there, or named there by another NAR file: a process ended between
    /// the two, the tree is a copy without its `.granary`, or somebody emptied it.
    pub(super) fn complete_catalog(&self) -> Result<(), TreeError> {
        let published = read(&self.index);
        let mut catalog = write(&self.catalog);
        let (mut completed, mut renamed) = (0_usize, Vec::new());
        for (hash, held) in published.all() {
            let known = catalog.entry(&hash);
            if known.is_some_and(|known| known.expected.file_hash == Some(held.file_hash)) {
                continue;
            }
            let path = self.layout.narinfo(&hash);
            let Some(info) = read_narinfo(&path) else { continue };
            let text = info.to_text();
            renamed.extend(known);
            self.scratch
                .name_again(&path, &self.layout.catalog_narinfo(&hash), || text.clone().into_bytes())?;
            catalog.insert(hash, Digests::of(&info, &text), (&info).into());
            completed += 1;
        }
        if completed > 0 {
            tracing::info!(narinfos = completed, "the catalog is completed from what is published");
            sync_directory(&self.layout.catalog())?;
        }
        drop((published, catalog));
        self.note_names(renamed.iter().map(|known| (&known.hash_part, known.expected)));
        Ok(())
    }

    /// What was found in the NAR file that is published here, whatever the narinfo says of its own: an upstream may have packed
    /// the same NAR anew, and a pass may still know the file that was here before.
    fn found_in(&self, info: &NarInfo) -> Option<Contents> {
        let hash = info.store_path.hash_part();
        let held = read(&self.index).get(&hash)?;
        let known = read(&self.catalog).entry(&hash).map(|entry| entry.expected.nar_hash);
        let same = held.compression == info.compression && known.is_none_or(|known| known == info.nar_hash);
        same.then_some(Contents { file_hash: held.file_hash, file_size: held.file_size })
    }

    /// Removes from the catalog what is not in `wanted`, except what published artifacts need for their closures to be
    /// whole. How many were removed.
    pub fn prune_catalog(&self, wanted: &HashParts) -> Result<usize, TreeError> {
        let spare: Vec<HashPart> =
            read(&self.catalog).hashes().filter(|hash| !wanted.contains(hash)).collect();
        if spare.is_empty() {
            return Ok(0);
        }
        let needed = self.closure_of_published(wanted);
        let spare: HashSet<HashPart> = spare.into_iter().filter(|hash| !needed.contains(hash)).collect();
        let order = references_first(&spare, |hash| {
            let references = self.catalog_narinfo(hash).map(|info| info.references).unwrap_or_default();
            references.into_iter().map(|reference| reference.hash_part())
        });
        // Referrers first: the rest is closed in itself whenever this ends.
        for hash in order.iter().rev() {
            remove_if_there(&self.layout.catalog_narinfo(hash))?;
            write(&self.catalog).remove(hash);
        }
        sync_directory(&self.layout.catalog())?;
        Ok(order.len())
    }

    /// Everything that is reached from published artifacts outside `wanted`, which is closed in itself.
    fn closure_of_published(&self, wanted: &HashParts) -> HashParts {
        let open: Vec<HashPart> = read(&self.index).hashes().filter(|hash| !wanted.contains(hash)).collect();
        let mut needed: HashParts = open.iter().copied().collect();
        self.walk(open, |reference| {
            let hash = reference.hash_part();
            !wanted.contains(&hash) && needed.insert(hash)
        });
        needed
    }
}
