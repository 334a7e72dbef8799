//! Reading one artifact again, and what is wrong with it.

use std::path::Path;

use granary_fetch::Fault;
use granary_nix::{Extra, HashPart, NarInfo, Trust};
use granary_placement::report::RefusalReason;

use super::beside;
use super::budget::{Budget, Paced};
use crate::extras::keys_of;
use crate::tree::Tree;
use crate::verify::artifact;

/// What is rotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rot {
    /// The catalog's narinfo; what it should be, if the published one says so.
    Catalog(Fault, Option<Box<NarInfo>>),
    /// The published narinfo; what it should be, if the catalog's one says so and the NAR file bears it out.
    Narinfo(Fault, Option<Box<NarInfo>>),
    /// The NAR file, of a published artifact.
    Nar(Fault),
    /// The NAR file, of an artifact in the trash.
    Trash(Fault),
    /// The narinfo, of an artifact in the trash.
    TrashNarinfo(Fault),
    /// A file beside an artifact.
    Beside(Extra, Fault),
}

/// What reading came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    /// Bytes of NAR files that were read and are good.
    pub(super) bytes: u64,
    /// What is wrong.
    pub(super) rotten: Vec<Rot>,
}

/// What an artifact's narinfos and its NAR file came to.
enum Once {
    /// So many bytes, and nothing wrong with them; its narinfo, if it is published.
    Good(u64, Option<Box<NarInfo>>),
    Rotten(Vec<Rot>),
    Stopped,
}

/// Reads an artifact's narinfos, in the tree, in the catalog and in the trash, its NAR file, and the files beside it. What is
/// found is looked at twice: a file may have been replaced, or a disk may have stumbled. `None` when it was told to stop.
pub(super) fn check(tree: &Tree, hash: &HashPart, trust: &Trust, budget: &mut Budget) -> Option<Checked> {
    let mut checked = Checked::default();
    let found = match once(tree, hash, trust, budget) {
        Once::Rotten(_) => once(tree, hash, trust, budget),
        found => found,
    };
    match found {
        Once::Good(bytes, info) => {
            checked.bytes += bytes;
            if let Some(info) = info {
                checked.rotten.extend(beside::extras(tree, &info, &keys_of(trust), budget));
            }
        }
        Once::Rotten(rotten) => checked.rotten.extend(rotten),
        Once::Stopped => return None,
    }
    let trashed = beside::trash(tree, hash, trust, budget);
    match trashed.or_else(|_| beside::trash(tree, hash, trust, budget)) {
        Ok(bytes) => checked.bytes += bytes,
        Err(rot) => checked.rotten.push(rot),
    }
    (!budget.is_stopped()).then_some(checked)
}

fn once(tree: &Tree, hash: &HashPart, trust: &Trust, budget: &mut Budget) -> Once {
    let layout = tree.layout();
    // What is in neither has left since it was listed.
    let published = tree.holds(hash).then(|| narinfo(&layout.narinfo(hash), hash, trust));
    let catalog = tree.in_catalog(hash).then(|| narinfo(&layout.catalog_narinfo(hash), hash, trust));
    let mut bytes = 0;
    let good = match (published, &catalog) {
        (Some(Ok(info)), _) => match nar(tree, &info, budget) {
            Ok(read) => {
                bytes += read;
                Some(info)
            }
            Err(Unread::Stopped) => return Once::Stopped,
            Err(Unread::Fault(fault)) => return Once::Rotten(vec![Rot::Nar(fault)]),
        },
        (Some(Err(fault)), Some(Ok(info))) => {
            let mended = match nar(tree, info, budget) {
                Ok(_) => Some(Box::new(info.clone())),
                Err(Unread::Stopped) => return Once::Stopped,
                Err(Unread::Fault(_)) => None,
            };
            return Once::Rotten(vec![Rot::Narinfo(fault, mended)]);
        }
        // Both leave at once: a pass that gets the artifact again writes only what it does not find.
        (Some(Err(fault)), Some(Err(catalog))) => {
            return Once::Rotten(vec![Rot::Narinfo(fault, None), Rot::Catalog(catalog.clone(), None)]);
        }
        (Some(Err(fault)), None) => return Once::Rotten(vec![Rot::Narinfo(fault, None)]),
        (None, _) => None,
    };
    match catalog {
        Some(Err(fault)) => Once::Rotten(vec![Rot::Catalog(fault, good.map(Box::new))]),
        _ => Once::Good(bytes, good.map(Box::new)),
    }
}

/// A narinfo of the tree. That nobody trusted has signed it is no rot: other rules held when it came.
pub(super) fn narinfo(path: &Path, hash: &HashPart, trust: &Trust) -> Result<NarInfo, Fault> {
    artifact::read_narinfo(path, hash, trust).or_else(|fault| match fault.reason {
        RefusalReason::UntrustedKey | RefusalReason::Unsigned => {
            let unread = |error| Fault::new(RefusalReason::Disk, format!("{}: {error}", path.display()));
            let text = std::fs::read(path).map_err(unread)?;
            Ok(NarInfo::parse(&text)?)
        }
        _ => Err(fault),
    })
}

enum Unread {
    Fault(Fault),
    Stopped,
}

fn nar(tree: &Tree, info: &NarInfo, budget: &mut Budget) -> Result<u64, Unread> {
    let read = artifact::read_nar(tree.directory(), info, |file| Paced::new(file, budget));
    if budget.is_stopped() {
        return Err(Unread::Stopped);
    }
    match read {
        Ok(Ok(verified)) => Ok(verified.file_size),
        Ok(Err(fault)) => Err(Unread::Fault(fault)),
        Err(error) => Err(Unread::Fault(Fault::new(RefusalReason::Disk, format!("{}: {error}", info.url)))),
    }
}
