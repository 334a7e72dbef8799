//! Opening a tree: making what is missing, removing what a crash left, reading what is there.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::RwLock;

use granary_nix::{CacheInfo, NarInfo};
use jiff::Timestamp;

use super::durable::{Scratch, make_directory};
use super::index::{Held, Index};
use super::{Layout, Tree, TreeError, id, layout};

impl Tree {
    /// Opens the tree at `directory`, which is made when it is not there, for this process alone.
    ///
    /// Temporary files of an earlier process are removed. `nix-cache-info` is written when it does not say what
    /// `cache_info` does.
    pub fn open(directory: &Path, cache_info: &CacheInfo) -> Result<Self, TreeError> {
        let layout = Layout::new(directory);
        for needed in [layout.nars(), layout.catalog(), layout.quarantine()] {
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
        let catalog = RwLock::new(Self::load_catalog(&layout)?);
        Ok(Self { layout, id, scratch, index, catalog, _lock: lock })
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
        let held = NarInfo::parse(&text)
            .ok()
            .filter(|info| info.store_path.hash_part() == hash)
            .and_then(|info| Held::of(&info, text.len()))
            .filter(|held| {
                fs::metadata(layout.served(&held.nar_name())).is_ok_and(|nar| nar.len() == held.file_size)
            });
        let published = entry.metadata().and_then(|file| file.modified()).ok();
        if let Some(held) = held {
            index.insert(hash, held, published.and_then(|time| Timestamp::try_from(time).ok()));
        } else {
            tracing::warn!(path = %path.display(), "not counted: not a narinfo of ours, or its NAR file is not there");
        }
    }
    Ok(index)
}
