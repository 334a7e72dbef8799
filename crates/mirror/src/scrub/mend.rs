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
}

/// Puts it right, or sets it aside. `name` is the store path, if it is known.
pub(super) fn mend(tree: &Tree, hash: &HashPart, rot: &Rot) -> Result<Mended, TreeError> {
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
        Rot::Narinfo(_, None) | Rot::Nar(_) => rot.fault(),
    };
    let info = tree.published_narinfo(hash).or_else(|| tree.catalog_narinfo(hash));
    let store_path = info.map_or_else(|| hash.to_string(), |info| info.store_path.to_string());
    let aside = tree.set_aside(hash)?;
    let Fault { reason, message } = fault.clone();
    let refusal = Refusal { store_path, reason, message, source: "this disk".into() };
    for hash in &aside {
        tree.put_in_quarantine(hash, &refusal)?;
    }
    Ok(Mended::SetAside(aside))
}

impl Rot {
    /// What is wrong.
    pub(super) fn fault(&self) -> &Fault {
        match self {
            Self::Catalog(fault, _) | Self::Narinfo(fault, _) | Self::Nar(fault) => fault,
        }
    }

    /// Which file, as a metric's label.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Catalog(..) => "catalog",
            Self::Narinfo(..) => "narinfo",
            Self::Nar(_) => "nar",
        }
    }

    /// Whether the disk did not let it be read, rather than giving other bytes.
    pub(super) fn is_read_error(&self) -> bool {
        self.fault().reason == RefusalReason::Disk
    }
}
