//! Reading again what else of an artifact is answered: its NAR file in the trash, and the files beside it.

use std::fs::File;
use std::io;

use granary_fetch::Fault;
use granary_nix::{Extra, HashPart, NarInfo, PublicKeys, Trust};
use granary_placement::report::RefusalReason;

use super::budget::{Budget, Paced};
use super::check::{Rot, narinfo};
use crate::tree::Tree;
use crate::verify::artifact;
use crate::verify::beside::{self, Flaw, Place, Through};

impl Through for Budget {
    fn through(&mut self, file: File) -> impl io::Read {
        Paced::new(file, self)
    }
}

/// Reads the narinfo of an artifact in the trash, and its NAR file, if that is there. How many bytes.
pub(super) fn trash(tree: &Tree, hash: &HashPart, trust: &Trust, budget: &mut Budget) -> Result<u64, Rot> {
    if !tree.is_trashed(hash) {
        return Ok(0);
    }
    narinfo(&tree.layout().trash_narinfo(hash), hash, trust).map_err(Rot::TrashNarinfo)?;
    let Some(name) = tree.nar_name(hash).filter(|_| tree.is_in_trash(hash)) else { return Ok(0) };
    let path = tree.layout().trash_served(&name);
    match File::open(&path) {
        Ok(file) => {
            let length = file.metadata().map(|file| file.len()).unwrap_or_default();
            artifact::is_named_by_its_bytes(budget.through(file), &name).map_err(Rot::Trash)?;
            Ok(length)
        }
        // It is where it was, since something published has it too; or it has just been removed.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => {
            Err(Rot::Trash(Fault::new(RefusalReason::Disk, format!("{}: {error}", path.display()))))
        }
    }
}

/// Reads the files beside a published artifact. What has no checksum gets one.
pub(super) fn extras(tree: &Tree, info: &NarInfo, keys: &PublicKeys, budget: &mut Budget) -> Vec<Rot> {
    let extras = tree.extras_beside(info).into_iter();
    extras.filter_map(|extra| one(tree, extra, Some(info), keys, budget)).collect()
}

/// Reads what belongs to no artifact as far as is known: a realisation or a build trace that does not say to which.
pub(super) fn strays(tree: &Tree, keys: &PublicKeys, budget: &mut Budget) -> Vec<Rot> {
    let strays = tree.stray_outputs().unwrap_or_default().into_iter();
    strays.filter_map(|extra| one(tree, extra, None, keys, budget)).collect()
}

/// Reads one of them, whatever else its artifact has. The artifact, as far as it is known.
pub(super) fn single(
    tree: &Tree,
    extra: Extra,
    keys: &PublicKeys,
    budget: &mut Budget,
) -> Option<(Option<HashPart>, Rot)> {
    let artifact = tree.owner_of(&extra);
    let info = artifact.and_then(|artifact| tree.published_narinfo(&artifact));
    Some((artifact, one(tree, extra, info.as_ref(), keys, budget)?))
}

fn one(
    tree: &Tree,
    extra: Extra,
    info: Option<&NarInfo>,
    keys: &PublicKeys,
    budget: &mut Budget,
) -> Option<Rot> {
    let name = extra.file_name();
    let place = Place { directory: tree.directory(), keys, info, distrusts: false };
    let mut read = || match beside::read(&extra, &name, &place, budget) {
        Ok(good) => {
            if !good.is_sealed {
                tree.seal_extra(&extra, &good.file, good.checksum);
            }
            None
        }
        Err(Flaw::Unread(error)) if error.kind() == io::ErrorKind::NotFound => None,
        Err(flaw) => Some(flaw),
    };
    // Looked at twice: it may have been replaced meanwhile, or the disk may have stumbled.
    read()?;
    let flaw = read()?;
    if budget.is_stopped() {
        return None;
    }
    let (reason, message) = match flaw {
        Flaw::Unread(error) => (RefusalReason::Disk, error.to_string()),
        Flaw::Bad(message) => (RefusalReason::FileHash, message),
    };
    Some(Rot::Beside(extra, Fault::new(reason, format!("{name}: {message}"))))
}
