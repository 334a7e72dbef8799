//! Opening a tree: making what is missing, removing what a crash left, reading what is there.

use std::fs::{self, File, TryLockError};
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use granary_nix::{CacheInfo, HashPart, NarInfo, StorePath};
use jiff::Timestamp;

use super::catalog::Catalog;
use super::durable::{Scratch, make_directory};
use super::extras::Beside;
use super::index::{Held, Index};
use super::many::{narinfos_in, read_each};
use super::partial::Partials;
use super::trash::Trash;
use super::unreadable::Unreadable;
use super::{Layout, Tree, TreeError, disk, id, write};
use crate::capacity::Capacity;

/// How often the lock is tried before the directory counts as another one's. A program that was being started when the last
/// process ended, such as nginx, has that one's files, and with them the lock, until it runs.
const LOCK_TRIES: u32 = 100;
/// Pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A tree that this process alone has, before it is read what is in it: nginx can serve it already.
#[derive(Debug)]
pub struct Opening {
    layout: Layout,
    id: String,
    scratch: Arc<Scratch>,
    partials: Arc<Partials>,
    cache_info: String,
    lock: File,
}

impl Opening {
    /// Takes the tree at `directory`, which is made when it is not there.
    ///
    /// Temporary files of an earlier process are removed. `nix-cache-info` is written when it does not say what
    /// `cache_info` does. On a disk that takes nothing in both wait until it does ([`Tree::takes_in`]); a tree that is
    /// there can be served meanwhile. Fails when another process has the tree.
    pub fn begin(directory: &Path, cache_info: &CacheInfo) -> Result<Self, TreeError> {
        let layout = Layout::new(directory);
        make_directories(&layout)?;
        let lock = lock(&layout)?;
        let scratch = Scratch::prepare(layout.temp())?;
        let partials = Partials::prepare(layout.partial())?;
        let id = id::read_or_make(&layout.id(), &scratch)?;
        let cache_info = cache_info.to_text();
        TreeError::or_later(write_cache_info(&layout, &scratch, &cache_info))?;
        Ok(Self { layout, id, scratch, partials, cache_info, lock })
    }

    /// Reads what is there, and finishes what an earlier process did not. Takes long where there is much.
    pub fn finish(self) -> Result<Tree, TreeError> {
        let Self { layout, id, scratch, partials, cache_info, lock } = self;
        let index = RwLock::new(scan(&layout)?);
        let catalog = RwLock::new(Catalog::load(&layout.catalog(), |hash| layout.catalog_narinfo(hash))?);
        let kept = RwLock::new(Tree::load_kept(&layout)?);
        let trash = RwLock::new(Trash::load(&layout)?);
        let capacity = Capacity::of(layout.directory().to_owned());
        let beside = Beside::load(&layout)?;
        let gate = RwLock::default();
        let tree = Tree {
            layout,
            id,
            scratch,
            partials,
            cache_info,
            gate,
            index,
            catalog,
            names: RwLock::default(),
            keeping_names: Mutex::default(),
            clock: Mutex::default(),
            kept,
            trash,
            capacity,
            beside,
            _lock: lock,
        };
        tree.load_names();
        let is_settled = TreeError::or_later(tree.settle())?;
        tree.capacity.read_only(!is_settled);
        Ok(tree)
    }
}

impl Tree {
    /// Opens the tree at `directory` at once: [`Opening::begin`] and [`Opening::finish`].
    pub fn open(directory: &Path, cache_info: &CacheInfo) -> Result<Self, TreeError> {
        Opening::begin(directory, cache_info)?.finish()
    }

    /// Looks whether the disk takes something in. When it did not and does again, everything is done that had to wait.
    /// Writes nothing to a disk of which nothing bad is known. Blocks.
    pub fn takes_in(&self) -> bool {
        let doubt = self.capacity.is_read_only() || self.scratch.was_refused();
        if !doubt && !self.capacity.is_mounted_read_only() {
            return true;
        }
        match TreeError::or_later(self.settle()) {
            Ok(takes_in) => self.capacity.read_only(!takes_in),
            // As it was, until the next look.
            Err(error) => tracing::error!(%error, "cannot finish what had to wait for the disk"),
        }
        !self.capacity.is_read_only()
    }

    /// Does what a start has to do on the disk, and what was interrupted when the disk took nothing in any more.
    fn settle(&self) -> Result<(), TreeError> {
        self.scratch.try_out()?;
        // Nothing comes or goes meanwhile.
        let _alone = write(&self.gate);
        make_directories(&self.layout)?;
        self.scratch.empty()?;
        write_cache_info(&self.layout, &self.scratch, &self.cache_info)?;
        self.finish_setting_aside()?;
        self.finish_removals()?;
        self.complete_catalog()
    }
}

/// Makes the directories that are not there. On a disk that takes nothing in they are, or it has no tree.
fn make_directories(layout: &Layout) -> Result<(), TreeError> {
    let needed = [layout.nars(), layout.catalog(), layout.quarantine(), layout.trash_nars()];
    needed.iter().try_for_each(|needed| make_directory(needed))
}

fn write_cache_info(layout: &Layout, scratch: &Arc<Scratch>, text: &str) -> Result<(), TreeError> {
    let path = layout.cache_info();
    if fs::read(&path).is_ok_and(|there| there == text.as_bytes()) {
        return Ok(());
    }
    scratch.write(&path, text.as_bytes())
}

fn lock(layout: &Layout) -> Result<File, TreeError> {
    let path = layout.lock();
    // Made once, and not held open for writing: an open file would keep an admin from remounting the disk read-only.
    let made = File::options().create(true).truncate(false).write(true).open(&path);
    TreeError::or_later(made.map(drop).map_err(TreeError::io("open", &path)))?;
    let file = File::open(&path).map_err(TreeError::io("open", &path))?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => tries += 1,
            Err(TryLockError::WouldBlock) => {
                return Err(TreeError::InUse { path: layout.directory().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(TreeError::io("lock", &path)(error)),
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

/// Reads what is published. A narinfo that is not in our form, or cannot be read, or whose NAR file is not there whole, is
/// not counted: a pass that wants it gets it again.
fn scan(layout: &Layout) -> Result<Index, TreeError> {
    let hashes = narinfos_in(layout.directory())?;
    let (mut index, unreadable) = (Index::default(), Unreadable::default());
    index.reserve(hashes.len());
    read_each(
        &hashes,
        |hash| read_published(layout, hash, &unreadable),
        |hash, (held, references)| index.insert(hash, held, references),
    )?;
    Ok(index)
}

fn read_published(
    layout: &Layout,
    hash: &HashPart,
    unreadable: &Unreadable,
) -> Result<Option<(Held, Vec<HashPart>)>, TreeError> {
    let path = layout.narinfo(hash);
    let mut text = Vec::new();
    let read = File::open(&path).and_then(|mut file| file.read_to_end(&mut text).map(|_| file));
    let Some(file) = unreadable.as_absent(read, &path)? else { return Ok(None) };
    let written = file.metadata().and_then(|file| file.modified()).ok();
    let at = written.and_then(|time| Timestamp::try_from(time).ok());
    let info = NarInfo::parse(&text).ok().filter(|info| info.store_path.hash_part() == *hash);
    let held = info.and_then(|info| Some((Held::of(&info, text.len(), at)?, info))).filter(|(held, _)| {
        let nar = layout.served(&held.nar_name());
        let found = fs::metadata(&nar);
        if found.as_ref().is_ok_and(|found| found.modified().is_ok_and(|at| at != disk::nar_time())) {
            // A copy of a tree, or an older one. Without it only a download that goes on elsewhere begins anew.
            let _ = disk::set_nar_time(&nar);
        }
        found.is_ok_and(|found| found.len() == held.file_size)
    });
    if held.is_none() {
        tracing::warn!(path = %path.display(), "not counted: not a narinfo of ours, or its NAR file is not there");
    }
    Ok(held.map(|(held, info)| (held, info.references.iter().map(StorePath::hash_part).collect())))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use granary_nix::{Compression, Hash, StorePath};

    use super::*;
    use crate::tree::Contents;

    /// A tree with one artifact, and where its narinfo and NAR file are.
    fn tree(directory: &Path) -> (Tree, NarInfo) {
        let tree = Tree::open(directory, &CacheInfo::default()).unwrap();
        let nar = b"nar".as_slice();
        let info = NarInfo {
            store_path: StorePath::parse_base_name("00bgd045z0d4icpbc2yyz4gx48ak44la-a").unwrap(),
            url: "x".into(),
            compression: Compression::None,
            file_hash: None,
            file_size: None,
            nar_hash: Hash::of(nar),
            nar_size: 3,
            references: Vec::new(),
            deriver: None,
            system: None,
            sigs: Vec::new(),
            ca: None,
        };
        let file = tree.temp();
        fs::write(file.path(), nar).unwrap();
        tree.publish(&info, &Contents { file_hash: Hash::of(nar), file_size: 3 }, file).unwrap();
        (tree, info)
    }

    #[test]
    fn a_lost_catalog_has_what_is_published_before_the_tree_is_open() {
        let temp = tempfile::tempdir().unwrap();
        let (tree, info) = tree(temp.path());
        let hash = info.store_path.hash_part();
        let (published, catalog) = (tree.layout().narinfo(&hash), tree.layout().catalog_narinfo(&hash));
        drop(tree);
        let text = fs::read(&published).unwrap();
        // Gone; named as an upstream names it; cut by a filesystem that lost what was not synced.
        let otherwise = crate::tree::canonical(&info, None).to_text().into_bytes();
        for before in [None, Some(otherwise), Some(Vec::new())] {
            fs::remove_file(&catalog).unwrap();
            if let Some(before) = before {
                fs::write(&catalog, before).unwrap();
            }
            let tree = Tree::open(temp.path(), &CacheInfo::default()).unwrap();
            assert_eq!(fs::read(&catalog).unwrap(), text);
            assert!(tree.in_catalog(&hash));
            assert_eq!(fs::read_dir(tree.layout().temp()).unwrap().count(), 0, "nothing half-done stays");
        }
    }

    #[test]
    fn every_nar_file_has_the_same_time() {
        let temp = tempfile::tempdir().unwrap();
        let (tree, info) = tree(temp.path());
        let nar = temp.path().join(tree.nar_name(&info.store_path.hash_part()).unwrap());
        let time = || fs::metadata(&nar).unwrap().modified().unwrap();
        assert_eq!(time(), disk::nar_time(), "as it is published");
        drop(tree);
        File::open(&nar).unwrap().set_modified(SystemTime::now()).unwrap();
        Tree::open(temp.path(), &CacheInfo::default()).unwrap();
        assert_eq!(time(), disk::nar_time(), "in a copy of the tree");
    }
}
