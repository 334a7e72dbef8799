//! Reading one artifact again, and what is wrong with it.

use std::path::Path;

use granary_fetch::Fault;
use granary_nix::{HashPart, NarInfo, Trust};
use granary_placement::report::RefusalReason;

use super::budget::{Budget, Paced};
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
}

/// What reading came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// So many bytes, and nothing wrong with them.
    Good(u64),
    /// Something is wrong.
    Rotten(Rot),
    /// It was told to stop.
    Stopped,
}

/// Reads an artifact's narinfos, in the tree and in the catalog, and its NAR file. What is found is looked at twice: a file
/// may have been replaced, or a disk may have stumbled.
pub(super) fn check(tree: &Tree, hash: &HashPart, trust: &Trust, budget: &mut Budget) -> Checked {
    match once(tree, hash, trust, budget) {
        Checked::Rotten(_) => once(tree, hash, trust, budget),
        checked => checked,
    }
}

fn once(tree: &Tree, hash: &HashPart, trust: &Trust, budget: &mut Budget) -> Checked {
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
            Err(Unread::Stopped) => return Checked::Stopped,
            Err(Unread::Fault(fault)) => return Checked::Rotten(Rot::Nar(fault)),
        },
        (Some(Err(fault)), Some(Ok(info))) => {
            let mended = match nar(tree, info, budget) {
                Ok(_) => Some(Box::new(info.clone())),
                Err(Unread::Stopped) => return Checked::Stopped,
                Err(Unread::Fault(_)) => None,
            };
            return Checked::Rotten(Rot::Narinfo(fault, mended));
        }
        (Some(Err(fault)), _) => return Checked::Rotten(Rot::Narinfo(fault, None)),
        (None, _) => None,
    };
    match catalog {
        Some(Err(fault)) => Checked::Rotten(Rot::Catalog(fault, good.map(Box::new))),
        _ => Checked::Good(bytes),
    }
}

/// A narinfo of the tree. That nobody trusted has signed it is no rot: other rules held when it came.
fn narinfo(path: &Path, hash: &HashPart, trust: &Trust) -> Result<NarInfo, Fault> {
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
