//! Opening a tree: making what is missing, removing what a crash left, reading what is there.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::RwLock;

use granary_nix::{CacheInfo, NarInfo, StorePath};
use jiff::Timestamp;

use super::catalog::Catalog;
use super::durable::{Scratch, make_directory};
use super::index::{Held, Index};
use super::trash::Trash;
use super::{Layout, Tree, TreeError, id, layout};

impl Tree {
    /// Opens the tree at `directory`, which is made when it is not there, for this process alone.
    ///
    /// Temporary files of an earlier process are removed. `nix-cache-info` is written when it does not say what
    /// `cache_info` does.
    pub fn open(directory: &Path, cache_info: &CacheInfo) -> Result<Self, TreeError> {
        let layout = Layout::new(directory);
        for needed in [layout.nars(), layout.catalog(), layout.quarantine(), layout.trash_nars()] {
            make_directory(&needed)?;
        }
        let lock = lock(&layout)?;
        let scratch = Scratch::prepare(layout.temp())?;
        let id = id::read_or_make(&layout.id(), &scratch)?;
        let text = cache_info.to_text();
        if fs::read(layout.cache_info()).ok().as_deref() != Some(text.as_bytes()) {
            scratch.write(&layout.cache_info(), text.as_bytes())?;
        }
        let index = RwLock::new(scan(&layout)?);
        let catalog = RwLock::new(Catalog::load(&layout.catalog())?);
        let kept = RwLock::new(Self::load_kept(&layout)?);
        let trash = RwLock::new(Trash::load(&layout)?);
        let gate = RwLock::default();
        let tree = Self { layout, id, scratch, gate, index, catalog, kept, trash, _lock: lock };
        tree.finish_removals()?;
        Ok(tree)
    }
}

fn lock(layout: &Layout) -> Result<File, TreeError> {
    let path = layout.lock();
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    let file = open.map_err(TreeError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TreeError::InUse { path: layout.directory().to_owned() }),
        Err(TryLockError::Error(error)) => Err(TreeError::io("lock", &path)(error)),
    }
}

/// Reads what is published. A narinfo that is not in our form, or whose NAR file is not there whole, is not counted: a
/// pass that wants it gets it again.
fn scan(layout: &Layout) -> Result<Index, TreeError> {
    let directory = layout.directory();
    let mut index = Index::default();
    for entry in fs::read_dir(directory).map_err(TreeError::io("list", directory))? {
        let entry = entry.map_err(TreeError::io("list", directory))?;
        let Some(hash) = layout::hash_of(&entry.file_name()) else { continue };
        let path = entry.path();
        let text = fs::read(&path).map_err(TreeError::io("read", &path))?;
        let written = entry.metadata().and_then(|file| file.modified()).ok();
        let at = written.and_then(|time| Timestamp::try_from(time).ok());
        let info = NarInfo::parse(&text).ok().filter(|info| info.store_path.hash_part() == hash);
        let held =
            info.and_then(|info| Some((Held::of(&info, text.len(), at)?, info))).filter(|(held, _)| {
                fs::metadata(layout.served(&held.nar_name())).is_ok_and(|nar| nar.len() == held.file_size)
            });
        if let Some((held, info)) = held {
            index.insert(hash, held, info.references.iter().map(StorePath::hash_part));
        } else {
            tracing::warn!(path = %path.display(), "not counted: not a narinfo of ours, or its NAR file is not there");
        }
    }
    Ok(index)
}
