//! The mirror's directory: a plain Nix binary cache, and our own state below `.granary`, which is never served.
//!
//! ```text
//! nix-cache-info
//! <hash part>.narinfo             the artifacts published here
//! nar/<FileHash>.nar[.xz|…]       their NAR files
//! <hash part>.ls, log/, debuginfo/, realisations/, build-trace-v2/    what is served beside them
//! .granary/id                     the disk's id
//! .granary/lock                   held by the one process that writes
//! .granary/tmp/                   what is being written; emptied at start
//! .granary/partial/<hash>         large NAR files that came in part; bounded, and kept for a week
//! .granary/catalog/<hash part>.narinfo      every artifact that is published here or that a policy wants, wherever it is held
//! .granary/quarantine/<hash part>.json      what was refused, and why
//! .granary/trash/<hash part>.narinfo        what was taken out
//! .granary/trash/nar/…            its NAR files, for some time
//! .granary/incoming/              NAR files and listings that were pushed and wait for their narinfo
//! .granary/pushed                 names of files beside artifacts that were pushed, for the quota
//! .granary/kept/<hash part>       marks of what stays although no policy wants it
//! .granary/channels/<name>/        the revisions of a channel that are kept, and what they list
//! .granary/names.json             names that NAR files had, for a month
//! .granary/checksums/             of files beside artifacts, on a filesystem that cannot keep them with the files
//! .granary/access/hours           when clients last had what is here only because they asked for it
//! ```
//!
//! The tree is the truth. What [`Tree`] keeps in memory is read from it at start. A file becomes visible only by a
//! rename, whole, synced to disk and verified, the NAR file before its narinfo and references before referrers; so a
//! crash at any instant leaves a valid cache.
//!
//! Everything here blocks on the disk: call it from a blocking thread, except for what is said to be in memory.

mod aside;
mod batch;
mod canonical;
mod catalog;
pub(crate) mod checksum;
mod clock;
#[cfg(test)]
pub(crate) mod crashes;
pub(crate) mod disk;
mod durable;
mod error;
mod extras;
mod id;
mod index;
mod kept;
mod layout;
mod many;
mod names;
mod open;
mod order;
mod partial;
mod publish;
mod quarantine;
mod remove;
#[cfg(test)]
mod size;
mod state;
mod temp;
mod trash;
mod unreadable;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use granary_nix::{HashPart, NarInfo};

pub use canonical::canonical;
pub use catalog::Signed;
pub use error::TreeError;
pub use extras::{artifact_named, read_listing};
pub use index::{CatalogEntry, Published, Totals};
pub(crate) use layout::nar_hash_of;
pub use layout::{Layout, hash_of};
pub use open::Opening;
use order::next_after;
pub(crate) use order::{order, references_first};
pub use publish::{Contents, Publication};
pub use quarantine::Record;
pub use temp::TempFile;

use crate::capacity::{Capacity, NoRoom, Room};
use crate::compact::HashParts;
use catalog::Catalog;
use clock::Clock;
use durable::{Scratch, make_lasting};
use extras::Beside;
use index::Index;
use names::Names;
use partial::Partials;
use trash::Trash;

/// The directory, open for writing by this process alone.
#[derive(Debug)]
pub struct Tree {
    layout: Layout,
    id: String,
    scratch: Arc<Scratch>,
    /// Held for reading while something is published, for writing while something is taken out.
    gate: RwLock<()>,
    partials: Arc<Partials>,
    /// The text of `nix-cache-info`.
    cache_info: String,
    index: RwLock<Index>,
    catalog: RwLock<Catalog>,
    trash: RwLock<Trash>,
    names: RwLock<Names>,
    /// Held while they are written.
    keeping_names: Mutex<()>,
    kept: RwLock<HashParts>,
    clock: Mutex<Clock>,
    capacity: Arc<Capacity>,
    beside: Beside,
    /// Locked as long as the tree is open.
    _lock: File,
}

impl Tree {
    /// The directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.layout.directory()
    }

    /// Where everything in the directory is.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Who says whether there is room for more. In memory, except that it asks the filesystem.
    #[must_use]
    pub fn capacity(&self) -> &Arc<Capacity> {
        &self.capacity
    }

    /// Waits until there is room for a NAR file of so many bytes at most, or says that there is none. The room is to be
    /// kept until the file is written, and to be dropped before anything else is waited for.
    pub async fn admit(&self, bytes: u64) -> Result<Room, NoRoom> {
        self.capacity.admit(bytes, || self.held()).await
    }

    /// The same for a NAR file that need not be kept, and is not waited for; `here`: how many of its bytes are on the disk, from
    /// an attempt before. Else how many bytes have to leave, 0 when that would not help. Asks the filesystem.
    pub fn admit_guest(&self, bytes: u64, here: u64) -> Result<Room, u64> {
        self.capacity.admit_guest(bytes.saturating_sub(here), self.held().saturating_add(here))
    }

    /// Whether there is room for so many bytes now, beside everything that was let in. Asks the filesystem.
    #[must_use]
    pub fn has_room(&self, bytes: u64) -> bool {
        self.capacity.fits(bytes, self.held())
    }

    /// Looks whether there is room again; `now` is time since the program started. Asks the filesystem, if there was none.
    pub fn look_for_room(&self, now: Duration) {
        self.capacity.look_again(self.held(), now);
    }

    /// Bytes of all NAR files that are here.
    fn held(&self) -> u64 {
        self.totals().bytes + self.trashed_bytes()
    }

    /// The disk's id: 32 hexadecimal digits, made once. In memory.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What is published. In memory.
    #[must_use]
    pub fn totals(&self) -> Totals {
        read(&self.index).totals()
    }

    /// Whether the artifact is published, as far as this process knows. In memory.
    #[must_use]
    pub fn holds(&self, hash: &HashPart) -> bool {
        read(&self.index).has(hash)
    }

    /// The size in bytes of the NAR file of a published artifact. In memory.
    #[must_use]
    pub fn file_size(&self, hash: &HashPart) -> Option<u64> {
        read(&self.index).file_size(hash)
    }

    /// A published artifact's size and when it was published. In memory.
    #[must_use]
    pub fn published(&self, hash: &HashPart) -> Option<Published> {
        read(&self.index).get(hash).map(|held| Published { file_size: held.file_size, at: held.at })
    }

    /// Everything that is published, in no particular order. In memory.
    #[must_use]
    pub fn published_hashes(&self) -> Vec<HashPart> {
        read(&self.index).hashes().collect()
    }

    /// The same, with what is known about each. In memory.
    #[must_use]
    pub fn all_published(&self) -> Vec<(HashPart, Published)> {
        let index = read(&self.index);
        let all = index.all();
        all.map(|(hash, held)| (hash, Published { file_size: held.file_size, at: held.at })).collect()
    }

    /// Whether anything is published, or in the trash, that is not in `these`. In memory.
    #[must_use]
    pub fn has_more_than(&self, these: &HashParts) -> bool {
        let other = |hash: HashPart| !these.contains(&hash);
        read(&self.index).hashes().any(other) || read(&self.trash).hashes().any(other)
    }

    /// How many other published artifacts refer to this one. In memory.
    #[must_use]
    pub fn referrers(&self, hash: &HashPart) -> u32 {
        read(&self.index).referrers(hash)
    }

    /// Looks whether a published artifact is still there: its narinfo and its NAR file exist and have the sizes they were
    /// published with. Contents are not read. What is not there is no longer counted.
    pub fn still_holds(&self, hash: &HashPart) -> bool {
        let Some(held) = read(&self.index).get(hash) else { return false };
        let length = |path: PathBuf| std::fs::metadata(path).map(|file| file.len()).ok();
        let there = length(self.layout.narinfo(hash)) == Some(u64::from(held.narinfo_length))
            && length(self.layout.served(&held.nar_name())) == Some(held.file_size);
        if !there {
            tracing::warn!(artifact = %hash, "a published artifact is gone from the tree, or has another size");
            write(&self.index).remove(hash);
        }
        there
    }

    /// Counts a published artifact no longer, so that a pass gets it again. Its files stay until then.
    pub fn forget(&self, hash: &HashPart) {
        write(&self.index).remove(hash);
    }

    /// The narinfo that is published for the artifact; `None` when there is none that can be read.
    #[must_use]
    pub fn published_narinfo(&self, hash: &HashPart) -> Option<NarInfo> {
        self.holds(hash).then(|| durable::read_narinfo(&self.layout.narinfo(hash)))?
    }

    /// What the catalog, or else the trash, says about the NAR file that is named `<hash>.nar[.<compression>]`, by its
    /// FileHash or by its NarHash, or what it was when it had that name. In memory.
    #[must_use]
    pub fn find_nar(&self, file: &str) -> Option<CatalogEntry> {
        let hash = nar_hash_of(file)?;
        let known = read(&self.catalog).by_name(file, hash);
        known.or_else(|| read(&self.trash).by_name(file, hash)).or_else(|| self.formerly(file))
    }

    /// The name in the cache, `nar/<FileHash>.nar[.<compression>]`, of the NAR file of an artifact that is published, or is
    /// in the trash with its NAR file. In memory.
    #[must_use]
    pub fn nar_name(&self, hash: &HashPart) -> Option<String> {
        let published = read(&self.index).get(hash).as_ref().map(index::Held::nar_name);
        published.or_else(|| read(&self.trash).nar_name(hash))
    }

    /// Keeps a file of our own state, below `.granary`: whole, or as it was before.
    pub fn keep_below(&self, path: &Path, content: &[u8]) -> Result<(), TreeError> {
        path.parent().map_or(Ok(()), |directory| make_lasting(directory, self.directory()))?;
        self.scratch.write(path, content)
    }

    /// Gives a file that has been written a name below `.granary`, for good.
    pub fn keep_file(&self, file: TempFile, path: &Path) -> Result<(), TreeError> {
        path.parent().map_or(Ok(()), |directory| make_lasting(directory, self.directory()))?;
        disk::sync(file.path()).map_err(TreeError::io("sync", file.path()))?;
        durable::place(file, path)
    }

    /// At most `most` published artifacts whose hash parts come after `after`, sorted. In memory.
    #[must_use]
    pub fn published_after(&self, after: Option<&HashPart>, most: usize) -> Vec<HashPart> {
        next_after(after, most, read(&self.index).hashes())
    }

    /// An empty file to write to, on the same filesystem as the tree.
    #[must_use]
    pub fn temp(&self) -> TempFile {
        self.scratch.file()
    }
}

/// The maps behind these locks are whole after each single operation, so that a thread that panicked left no damage.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
