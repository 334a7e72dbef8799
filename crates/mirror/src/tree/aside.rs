//! What is found rotten on the disk: set aside, mended, or looked for.
//!
//! A rotten artifact cannot stay, and what refers to it cannot go. So it goes from the tree to the catalog: its narinfo is
//! answered from there on, and its NAR is fetched for whoever asks, until a pass has published it again. The bad file is
//! kept in the quarantine for people to look at, as long as there are few.

use std::cmp::Reverse;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use granary_nix::{HashPart, NarInfo, StorePath};

use super::durable::{read_narinfo, remove_if_there, sync_directory};
use super::index::{CatalogEntry, Held};
use super::order::next_after;
use super::{Tree, TreeError, disk, read, write};

/// Files that are kept for people to look at.
const MAX_KEPT: usize = 16;
/// Bytes of them altogether.
const MAX_KEPT_BYTES: u64 = 1 << 30;
/// Ends the name of a note that a NAR file is leaving, which outlives a crash.
const LEAVING: &str = ".leaving";

impl Tree {
    /// Sets aside a published artifact, whose NAR file or narinfo is rotten, and all others with the same NAR file: which
    /// ones these are. They are not published any more, and a pass that wants them gets them again.
    pub fn set_aside(&self, hash: &HashPart) -> Result<Vec<HashPart>, TreeError> {
        let _nothing_comes = write(&self.gate);
        let Some(held) = read(&self.index).get(hash) else { return Ok(Vec::new()) };
        let file = (held.file_hash, held.compression);
        let shares = |other: &Held| (other.file_hash, other.compression) == file;
        let all: Vec<HashPart> =
            read(&self.index).all().filter(|(_, other)| shares(other)).map(|(hash, _)| hash).collect();
        for hash in &all {
            let info = read_narinfo(&self.layout.narinfo(hash));
            let info = info.filter(|info| info.store_path.hash_part() == *hash);
            if let Some(info) = info.filter(|_| read_narinfo(&self.layout.catalog_narinfo(hash)).is_none()) {
                self.forget_in_catalog(hash);
                self.put_in_catalog([&info])?;
            }
        }
        self.note_names_of(&all);
        let name = held.nar_name();
        let note = self.note(&name);
        self.scratch.write(&note, b"")?;
        for hash in &all {
            remove_if_there(&self.layout.narinfo(hash))?;
            write(&self.index).remove(hash);
        }
        sync_directory(self.layout.directory())?;
        self.move_aside(&name)?;
        remove_if_there(&note)?;
        self.bound_kept_files()?;
        Ok(all)
    }

    /// What a process that ended in the middle of setting something aside left to do.
    pub(super) fn finish_setting_aside(&self) -> Result<(), TreeError> {
        let directory = self.layout.quarantine();
        for entry in fs::read_dir(&directory).map_err(TreeError::io("list", &directory))? {
            let entry = entry.map_err(TreeError::io("list", &directory))?;
            let file_name = entry.file_name();
            let Some(file) = file_name.to_str().and_then(|name| name.strip_suffix(LEAVING)) else { continue };
            let name = format!("nar/{file}");
            let is_published = read(&self.index).all().any(|(_, held)| held.nar_name() == name);
            if !is_published {
                self.move_aside(&name)?;
            }
            remove_if_there(&entry.path())?;
        }
        Ok(())
    }

    fn note(&self, name: &str) -> PathBuf {
        self.kept_file(&format!("{name}{LEAVING}"))
    }

    fn kept_file(&self, name: &str) -> PathBuf {
        self.layout.quarantine().join(name.trim_start_matches("nar/"))
    }

    fn move_aside(&self, name: &str) -> Result<(), TreeError> {
        self.quarantine_file(&self.layout.served(name), name)
    }

    fn quarantine_file(&self, from: &Path, name: &str) -> Result<(), TreeError> {
        if !fs::symlink_metadata(from).is_ok_and(|file| !file.is_dir()) {
            return Ok(());
        }
        disk::rename(from, &self.kept_file(name)).map_err(TreeError::io("set aside", from))?;
        sync_directory(&self.layout.quarantine())?;
        from.parent().map_or(Ok(()), sync_directory)
    }

    /// Sets aside the NAR file of an artifact in the trash, which is rotten. Its narinfo stays: the NAR is had from
    /// elsewhere for whoever asks.
    pub fn set_trash_aside(&self, hash: &HashPart) -> Result<(), TreeError> {
        let _nothing_comes = write(&self.gate);
        let Some(name) = read(&self.trash).nar_name(hash) else { return Ok(()) };
        self.quarantine_file(&self.layout.trash_served(&name), &name)?;
        write(&self.trash).lose(&name);
        self.bound_kept_files()
    }

    /// Removes the kept files that are too many or too large, those first that were kept first.
    fn bound_kept_files(&self) -> Result<(), TreeError> {
        let directory = self.layout.quarantine();
        let entries = fs::read_dir(&directory).map_err(TreeError::io("list", &directory))?;
        let is_nar = |path: &PathBuf| path.file_name().is_some_and(super::layout::is_nar_file);
        let sized = |path: PathBuf| {
            let file = fs::metadata(&path).ok()?;
            Some((Reverse((file.ctime(), file.ctime_nsec())), file.len(), path))
        };
        let mut kept: Vec<_> =
            entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_nar).filter_map(sized).collect();
        kept.sort_unstable();
        let mut bytes: u64 = 0;
        for (place, (_, length, path)) in kept.iter().enumerate() {
            bytes = bytes.saturating_add(*length);
            if place >= MAX_KEPT || bytes > MAX_KEPT_BYTES {
                remove_if_there(path)?;
            }
        }
        Ok(())
    }

    /// Writes a published artifact's narinfo anew, whose file is rotten. `info` has been verified, and is about the NAR file
    /// that is published.
    pub fn mend_narinfo(&self, info: &NarInfo) -> Result<(), TreeError> {
        let _nothing_comes = write(&self.gate);
        let hash = info.store_path.hash_part();
        let held = read(&self.index).get(&hash);
        let Some(held) = held.filter(|held| held.nar_name() == info.url) else {
            return Err(TreeError::NotThere { artifact: hash, place: "published with this NAR file" });
        };
        let text = info.to_text();
        self.scratch.write(&self.layout.narinfo(&hash), text.as_bytes())?;
        if let Some(held) = Held::of(info, text.len(), held.at) {
            let references = info.references.iter().map(StorePath::hash_part);
            write(&self.index).insert(hash, held, references);
        }
        Ok(())
    }

    /// Takes a narinfo out of the catalog whose file is rotten. A pass that wants it writes it again.
    pub fn drop_from_catalog(&self, hash: &HashPart) -> Result<(), TreeError> {
        self.note_names_of(std::slice::from_ref(hash));
        self.forget_in_catalog(hash);
        remove_if_there(&self.layout.catalog_narinfo(hash))
    }

    /// The names of their NAR files are remembered, whatever comes in their place.
    fn note_names_of(&self, hashes: &[HashPart]) {
        let known: Vec<CatalogEntry> = {
            let catalog = read(&self.catalog);
            hashes.iter().filter_map(|hash| catalog.entry(hash)).collect()
        };
        self.note_names(known.iter().map(|known| (&known.hash_part, known.expected)));
    }

    fn forget_in_catalog(&self, hash: &HashPart) {
        write(&self.catalog).remove(hash);
    }

    /// The first artifacts after `after`, in the order of their hash parts, that are published, in the catalog or in the
    /// trash; at most `count`. In memory.
    #[must_use]
    pub fn next_after(&self, after: Option<&HashPart>, count: usize) -> Vec<HashPart> {
        let (index, catalog, trash) = (read(&self.index), read(&self.catalog), read(&self.trash));
        next_after(after, count, index.hashes().chain(catalog.hashes()).chain(trash.hashes()))
    }
}

#[cfg(test)]
mod tests;
