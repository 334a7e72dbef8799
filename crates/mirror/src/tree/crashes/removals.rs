//! The part of a history in which artifacts are taken out, taken back, and gone for good.

use std::fs;

use granary_nix::{CacheInfo, Hash, HashPart};

use super::{History, Numbers};
use crate::tree::{Contents, Tree, TreeError};

/// What leaves, of what is published.
pub(super) struct Removals {
    removed: Vec<HashPart>,
    taken_back: Vec<HashPart>,
    emptied: Vec<HashPart>,
    gone: Vec<HashPart>,
    /// Without the catalog of what is published, nothing but the order keeps closures whole.
    without_catalog: bool,
}

impl Removals {
    pub(super) fn of(history: &History, numbers: &mut Numbers) -> Self {
        // References first, as the history has them.
        let all: Vec<HashPart> =
            history.artifacts.iter().map(|(info, _)| info.store_path.hash_part()).collect();
        let mut some = |of: &[HashPart], one_in: usize| -> Vec<HashPart> {
            of.iter().filter(|_| numbers.below(one_in) == 0).copied().collect()
        };
        let published: Vec<HashPart> =
            all.into_iter().filter(|hash| history.published.contains(hash)).collect();
        let staying = some(&published, 4);
        let removed: Vec<HashPart> = published.into_iter().filter(|hash| !staying.contains(hash)).collect();
        let (taken_back, emptied, gone) = (some(&removed, 3), some(&removed, 2), some(&removed, 4));
        Self { removed, taken_back, emptied, gone, without_catalog: numbers.below(2) == 0 }
    }

    pub(super) fn play(&self, history: &History, mut tree: Tree) -> Result<(), TreeError> {
        let directory = tree.directory().to_owned();
        if self.without_catalog {
            let layout = tree.layout().clone();
            drop(tree);
            for hash in &history.published {
                // Some are not in the catalog.
                let _ = fs::remove_file(layout.catalog_narinfo(hash));
            }
            tree = Tree::open(&directory, &CacheInfo::default())?;
        }
        tree.remove_all(&self.removed)?;
        for hash in &self.taken_back {
            let (info, file) = match tree.take_back(hash) {
                Err(TreeError::NotThere { .. }) => continue,
                result => result?,
            };
            let nar = fs::read(file.path()).unwrap();
            assert!(history.artifacts.iter().any(|(_, bytes)| *bytes == nar), "the trash keeps whole files");
            let contents = Contents { file_hash: Hash::of(&nar), file_size: nar.len() as u64 };
            match tree.publish(&info, &contents, file) {
                Err(TreeError::ReferenceMissing { .. }) => {}
                result => result?,
            }
        }
        for hash in &self.emptied {
            tree.empty_trash_of(hash)?;
        }
        for hash in &self.gone {
            tree.remove_from_trash(hash)?;
        }
        Ok(())
    }
}
