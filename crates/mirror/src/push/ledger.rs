//! How many bytes of files beside artifacts were pushed: they count towards the quota as long as they are there.
//!
//! A file beside the tree has their names. When it is lost they are not counted any more, and nothing else changes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use granary_nix::Extra;

use crate::tree::{Tree, TreeError};

/// The names, and how long the files are.
#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    tree: Arc<Tree>,
    sizes: Mutex<HashMap<String, u64>>,
}

impl Ledger {
    /// Reads the names. What has left the tree with its artifact is forgotten.
    pub(super) fn open(tree: Arc<Tree>) -> Result<Self, TreeError> {
        let path = tree.layout().pushed();
        let text = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        // A line that was cut by a crash is no name.
        let names: Vec<&str> = text.lines().filter(|name| Extra::parse(name).is_ok()).collect();
        let sizes = names.iter().filter_map(|name| Some(((*name).to_owned(), length(&tree, name)?)));
        let sizes: HashMap<String, u64> = sizes.collect();
        if sizes.len() < text.lines().count() {
            let mut kept: Vec<&str> = sizes.keys().map(String::as_str).collect();
            kept.sort_unstable();
            let kept: String = kept.iter().flat_map(|name| [*name, "\n"]).collect();
            tree.keep_below(&path, kept.as_bytes())?;
        }
        Ok(Self { path, tree, sizes: Mutex::new(sizes) })
    }

    /// Bytes of all of them. In memory.
    pub(super) fn bytes(&self) -> u64 {
        self.sizes().values().fold(0, |sum, size| sum.saturating_add(*size))
    }

    /// A file has become visible.
    pub(super) fn add(&self, name: &str, bytes: u64) {
        let mut sizes = self.sizes();
        if sizes.insert(name.to_owned(), bytes).is_some() {
            return;
        }
        let file = File::options().create(true).append(true).open(&self.path);
        if let Err(error) = file.and_then(|mut file| file.write_all(format!("{name}\n").as_bytes())) {
            tracing::warn!(%error, name, "a pushed file will not be counted after a restart");
        }
    }

    /// Forgets what has left the tree.
    pub(super) fn sweep(&self) {
        self.sizes().retain(|name, _| length(&self.tree, name).is_some());
    }

    fn sizes(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn length(tree: &Tree, name: &str) -> Option<u64> {
    fs::metadata(tree.layout().served(name)).ok().filter(fs::Metadata::is_file).map(|file| file.len())
}

#[cfg(test)]
mod tests {
    use granary_nix::CacheInfo;

    use super::*;

    #[test]
    fn what_is_there_is_counted_after_a_restart_too_and_what_is_gone_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let tree = Arc::new(Tree::open(temp.path(), &CacheInfo::default()).unwrap());
        let open = || Ledger::open(Arc::clone(&tree)).unwrap();
        let [one, two] = ["a", "b"].map(|name| format!("log/00bgd045z0d4icpbc2yyz4gx48ak44la-{name}.drv"));
        fs::create_dir(temp.path().join("log")).unwrap();
        fs::write(temp.path().join(&one), "12345").unwrap();
        fs::write(temp.path().join(&two), "12").unwrap();
        let ledger = open();
        ledger.add(&one, 5);
        ledger.add(&two, 2);
        ledger.add(&two, 2);
        assert_eq!(ledger.bytes(), 7);
        // As a crash in the middle of a line leaves it.
        let mut text = fs::read(&ledger.path).unwrap();
        text.extend(b"log/00bgd045z0d4icp");
        fs::write(&ledger.path, text).unwrap();
        assert_eq!(open().bytes(), 7);
        assert_eq!(fs::read_to_string(&ledger.path).unwrap(), format!("{one}\n{two}\n"));
        fs::remove_file(temp.path().join(&one)).unwrap();
        assert_eq!(ledger.bytes(), 7);
        ledger.sweep();
        assert_eq!((ledger.bytes(), open().bytes()), (2, 2));
    }
}
