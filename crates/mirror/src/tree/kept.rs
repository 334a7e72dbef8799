//! Artifacts that are kept although no policy wants them: those that were pushed or imported.

use std::fs;

use granary_nix::HashPart;

use super::durable::{make_directory, remove_if_there};
use super::{Tree, TreeError, layout, read, write};
use crate::compact::HashParts;

impl Tree {
    /// Marks an artifact as one that is kept whatever the policies want, with a word on where it came from.
    pub fn keep(&self, hash: &HashPart, why: &str) -> Result<(), TreeError> {
        if self.is_kept(hash) {
            return Ok(());
        }
        self.scratch.write(&self.layout.kept_mark(hash), format!("{why}\n").as_bytes())?;
        write(&self.kept).insert(*hash);
        Ok(())
    }

    /// Takes the mark away.
    pub fn unkeep(&self, hash: &HashPart) -> Result<(), TreeError> {
        if !write(&self.kept).remove(hash) {
            return Ok(());
        }
        remove_if_there(&self.layout.kept_mark(hash))
    }

    /// Whether an artifact has the mark. In memory.
    #[must_use]
    pub fn is_kept(&self, hash: &HashPart) -> bool {
        read(&self.kept).contains(hash)
    }

    /// Everything that has the mark. In memory.
    #[must_use]
    pub fn kept(&self) -> HashParts {
        read(&self.kept).clone()
    }

    /// Bytes of the NAR files of published artifacts that have the mark. In memory.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        let (kept, index) = (read(&self.kept), read(&self.index));
        kept.iter().filter_map(|hash| index.file_size(&hash)).sum()
    }

    /// Reads the marks.
    pub(super) fn load_kept(layout: &layout::Layout) -> Result<HashParts, TreeError> {
        let directory = layout.kept();
        let mut kept = HashParts::default();
        if !TreeError::or_later(make_directory(&directory))? {
            return Ok(kept);
        }
        for entry in fs::read_dir(&directory).map_err(TreeError::io("list", &directory))? {
            let entry = entry.map_err(TreeError::io("list", &directory))?;
            kept.extend(entry.file_name().to_str().and_then(|name| name.parse::<HashPart>().ok()));
        }
        Ok(kept)
    }
}

#[cfg(test)]
mod tests {
    use granary_nix::CacheInfo;

    use super::*;

    #[test]
    fn a_mark_outlives_the_process() {
        let temp = tempfile::tempdir().unwrap();
        let hash: HashPart = "00bgd045z0d4icpbc2yyz4gx48ak44la".parse().unwrap();
        let open = || Tree::open(temp.path(), &CacheInfo::default()).unwrap();
        let tree = open();
        tree.keep(&hash, "push ci").unwrap();
        drop(tree);
        let tree = open();
        assert!(tree.is_kept(&hash) && tree.kept().len() == 1 && tree.kept_bytes() == 0);
        tree.unkeep(&hash).unwrap();
        drop(tree);
        assert!(!open().is_kept(&hash));
    }
}
