//! What is done about rot.

use granary_fetch::Fault;
use granary_nix::HashPart;
use granary_placement::report::{Refusal, RefusalReason};

use super::check::Rot;
use crate::tree::{Tree, TreeError};

/// What became of something rotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mended {
    /// It was put right from what is here.
    Here,
    /// It is not published any more, until a pass has got it again; so are the others that have its NAR file.
    SetAside(Vec<HashPart>),
    /// It is not answered from here any more. What is a file beside an artifact is had or made again with the others of its
    /// artifact; the NAR file of something in the trash is had from elsewhere by whoever asks.
    Removed,
}

/// Puts it right, sets it aside, or removes it. Only a file beside an artifact may belong to none.
pub(super) fn mend(tree: &Tree, hash: Option<&HashPart>, rot: &Rot) -> Result<Mended, TreeError> {
    if let Rot::Beside(extra, _) = rot {
        return tree.drop_extra(extra, hash).map(|()| Mended::Removed);
    }
    let Some(hash) = hash else { return Ok(Mended::Removed) };
    let fault = match rot {
        Rot::Catalog(_, Some(info)) => {
            tree.drop_from_catalog(hash)?;
            tree.put_in_catalog([&**info])?;
            return Ok(Mended::Here);
        }
        Rot::Narinfo(_, Some(info)) => match tree.mend_narinfo(info) {
            // The catalog's is about another NAR file than the one that was published.
            Err(TreeError::NotThere { .. }) => rot.fault(),
            result => return result.map(|()| Mended::Here),
        },
        Rot::Catalog(_, None) => {
            tree.drop_from_catalog(hash)?;
            return Ok(Mended::SetAside(vec![*hash]));
        }
        Rot::Trash(_) => {
            tree.set_trash_aside(hash)?;
            return Ok(Mended::Removed);
        }
        Rot::TrashNarinfo(_) => {
            tree.remove_rotten_from_trash(hash)?;
            return Ok(Mended::Removed);
        }
        Rot::Narinfo(_, None) | Rot::Nar(_) | Rot::Beside(..) => rot.fault(),
    };
    let info = tree.published_narinfo(hash).or_else(|| tree.catalog_narinfo(hash));
    let store_path = info.map_or_else(|| hash.to_string(), |info| info.store_path.to_string());
    let aside = tree.set_aside(hash)?;
    let Fault { reason, message } = fault.clone();
    let refusal = Refusal { store_path, reason, message, source: "this disk".into() };
    tree.put_in_quarantine(aside.iter().map(|hash| (hash, &refusal)))?;
    Ok(Mended::SetAside(aside))
}

impl Rot {
    /// What is wrong.
    pub(super) fn fault(&self) -> &Fault {
        match self {
            Self::Catalog(fault, _)
            | Self::Narinfo(fault, _)
            | Self::Nar(fault)
            | Self::Trash(fault)
            | Self::TrashNarinfo(fault)
            | Self::Beside(_, fault) => fault,
        }
    }

    /// Which file, as a metric's label.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Catalog(..) => "catalog",
            Self::Narinfo(..) => "narinfo",
            Self::Nar(_) => "nar",
            Self::Trash(_) => "trash",
            Self::TrashNarinfo(_) => "trash-narinfo",
            Self::Beside(extra, _) => extra.kind().as_str(),
        }
    }

    /// Whether the disk did not let it be read, rather than giving other bytes.
    pub(super) fn is_read_error(&self) -> bool {
        self.fault().reason == RefusalReason::Disk
    }
}
