//! The trash: what was taken out, until it is gone. Its narinfos stay longer than its NAR files, since a client may ask for
//! a NAR a month after it read the narinfo: they say where to have it from.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use granary_nix::{Hash, HashPart, NarInfo};

use super::catalog::{Catalog, Digests};
use super::durable::{read_narinfo, remove_if_there};
use super::index::{CatalogEntry, Held};
use super::{Layout, TempFile, Tree, TreeError, disk, read, write};

/// What the trash has, in memory.
#[derive(Debug, Default)]
pub(super) struct Trash {
    /// Its narinfos.
    known: Catalog,
    /// Those whose NAR file has not been removed yet.
    kept: HashMap<HashPart, Held>,
    /// Bytes of the NAR files. Two artifacts with one NAR file count it twice.
    bytes: u64,
}

impl Trash {
    /// Reads the directory. What is no narinfo of ours is left alone.
    pub(super) fn load(layout: &Layout) -> Result<Self, TreeError> {
        let known = Catalog::load(&layout.trash(), |hash| layout.trash_narinfo(hash))?;
        let mut trash = Self::default();
        for hash in known.hashes() {
            let Some(info) = read_narinfo(&layout.trash_narinfo(&hash)) else { continue };
            let Some(held) = Held::of(&info, 0, None) else { continue };
            let name = held.nar_name();
            // It stands where it was when another artifact has the same, or when a crash came before it was moved.
            if [layout.trash_served(&name), layout.served(&name)].iter().any(|path| path.exists()) {
                trash.hold(hash, held);
            }
        }
        Ok(Self { known, ..trash })
    }

    pub(super) fn by_name(&self, file: &str, hash: Hash) -> Option<CatalogEntry> {
        self.known.by_name(file, hash)
    }

    pub(super) fn nar_name(&self, hash: &HashPart) -> Option<String> {
        self.kept.get(hash).map(Held::nar_name)
    }

    pub(super) fn insert(&mut self, hash: HashPart, held: Held, info: &NarInfo) {
        self.known.insert(hash, Digests::of(info, &info.to_text()), info.into());
        self.hold(hash, held);
    }

    fn hold(&mut self, hash: HashPart, held: Held) {
        self.let_go(&hash);
        self.bytes += held.file_size;
        self.kept.insert(hash, held);
    }

    fn let_go(&mut self, hash: &HashPart) {
        if let Some(held) = self.kept.remove(hash) {
            self.bytes -= held.file_size;
        }
    }

    /// The NAR file is not there any more: it has none of the artifacts that had it.
    pub(super) fn lose(&mut self, name: &str) {
        let all: Vec<HashPart> =
            self.kept.iter().filter(|(_, held)| held.nar_name() == name).map(|(hash, _)| *hash).collect();
        for hash in &all {
            self.let_go(hash);
        }
    }

    pub(super) fn has(&self, hash: &HashPart) -> bool {
        self.known.has(hash)
    }

    pub(super) fn hashes(&self) -> impl Iterator<Item = HashPart> {
        self.known.hashes()
    }

    pub(super) fn kept(&self, hash: &HashPart) -> Option<&Held> {
        self.kept.get(hash)
    }

    /// Bytes of the NAR files. Two artifacts with one NAR file count it twice.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether an artifact of the trash other than `hash` still needs this NAR file.
    fn is_shared(&self, hash: &HashPart, held: &Held) -> bool {
        self.kept.iter().any(|(other, kept)| {
            other != hash && (kept.file_hash, kept.compression) == (held.file_hash, held.compression)
        })
    }
}

impl Tree {
    /// What is in the trash, and the bytes of the NAR file if that has not been removed yet. In memory.
    #[must_use]
    pub fn trashed(&self) -> Vec<(HashPart, Option<u64>)> {
        let trash = read(&self.trash);
        trash.hashes().map(|hash| (hash, trash.kept(&hash).map(|held| held.file_size))).collect()
    }

    /// Bytes of the NAR files in the trash; two artifacts with one NAR file count it twice. In memory.
    #[must_use]
    pub fn trashed_bytes(&self) -> u64 {
        read(&self.trash).bytes()
    }

    /// Whether the trash has the artifact's narinfo. In memory.
    #[must_use]
    pub fn is_trashed(&self, hash: &HashPart) -> bool {
        read(&self.trash).has(hash)
    }

    /// Whether the trash has the artifact, with its NAR file. In memory.
    #[must_use]
    pub fn is_in_trash(&self, hash: &HashPart) -> bool {
        read(&self.trash).kept(hash).is_some()
    }

    /// The narinfo of an artifact in the trash, and where its NAR file is now.
    pub(super) fn in_trash(&self, hash: &HashPart) -> Option<(NarInfo, PathBuf)> {
        let name = read(&self.trash).nar_name(hash)?;
        let info = read_narinfo(&self.layout.trash_narinfo(hash)).filter(|info| info.url == name)?;
        let places = [self.layout.served(&name), self.layout.trash_served(&name)];
        Some((info, places.into_iter().find(|path| path.exists())?))
    }

    /// The narinfo of an artifact in the trash, and its NAR file under a second name, to be verified and published again. It
    /// stays in the trash until that is done.
    pub fn take_back(&self, hash: &HashPart) -> Result<(NarInfo, TempFile), TreeError> {
        let absent = TreeError::NotThere { artifact: *hash, place: "in the trash with its NAR file" };
        let (info, from) = self.in_trash(hash).ok_or(absent)?;
        let file = self.scratch.file();
        disk::link(&from, file.path()).map_err(TreeError::io("take back", &from))?;
        Ok((info, file))
    }

    /// Removes the NAR file of an artifact in the trash, unless another one needs it. Its narinfo stays.
    pub fn empty_trash_of(&self, hash: &HashPart) -> Result<(), TreeError> {
        let _nothing_comes = write(&self.gate);
        self.remove_trashed_nar(hash)
    }

    /// Removes what is left of an artifact in the trash.
    pub fn remove_from_trash(&self, hash: &HashPart) -> Result<(), TreeError> {
        let _nothing_comes = write(&self.gate);
        self.remove_trashed_nar(hash)?;
        remove_if_there(&self.layout.trash_narinfo(hash))?;
        write(&self.trash).known.remove(hash);
        Ok(())
    }

    /// Removes what is left of an artifact in the trash whose narinfo has rotted. Its name is remembered.
    pub fn remove_rotten_from_trash(&self, hash: &HashPart) -> Result<(), TreeError> {
        let before = read(&self.trash).known.entry(hash);
        self.note_names(before.iter().map(|before| (hash, before.expected)));
        self.remove_from_trash(hash)
    }

    fn remove_trashed_nar(&self, hash: &HashPart) -> Result<(), TreeError> {
        let mut trash = write(&self.trash);
        let Some(held) = trash.kept.get(hash).copied() else { return Ok(()) };
        if !trash.is_shared(hash, &held) {
            remove_if_there(&self.layout.trash_served(&held.nar_name()))?;
        }
        trash.let_go(hash);
        Ok(())
    }

    /// The artifact is published again. What cannot be removed now is removed at the next start.
    pub(super) fn drop_from_trash(&self, hash: &HashPart) {
        let Some(before) = read(&self.trash).known.entry(hash) else { return };
        let held = read(&self.index).get(hash);
        if held.is_none_or(|held| before.expected.file_hash != Some(held.file_hash)) {
            self.note_names(std::iter::once((hash, before.expected)));
        }
        let gone =
            self.remove_trashed_nar(hash).and_then(|()| remove_if_there(&self.layout.trash_narinfo(hash)));
        match gone {
            Ok(()) => write(&self.trash).known.remove(hash),
            Err(error) => {
                tracing::warn!(artifact = %hash, %error, "still in the trash, though published again");
            }
        }
    }
}

/// Whether a file is there.
pub(super) fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.is_file())
}
