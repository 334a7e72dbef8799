//! What the map's writer has to tell about holders, for events and for the conditions of their `CacheMirror`.

use granary_placement::{MirrorName, assign::NoNode};

/// One thing to tell about one holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The holder.
    pub holder: MirrorName,
    /// What it is.
    pub trouble: Trouble,
}

/// What there is to tell.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The holder reports another disk than before.
    #[error(
        "its disk changed from {was} to {is}: swapped, emptied or mounted wrongly; it is filled and verified anew before it serves"
    )]
    DiskChanged {
        /// The id that it had.
        was: String,
        /// The id that it has.
        is: String,
    },
    /// Another mirror reports the same disk.
    #[error(
        "it has the same disk as {0}, so its copies do not count; give each mirror a disk, or delete .granary/id on a copied one"
    )]
    SharedDisk(MirrorName),
    /// It needs a node and gets none.
    #[error("{0}")]
    NoNode(NoNode),
    /// The map itself cannot be read.
    #[error(
        "the mirror map cannot be read ({0}); it is put together again as soon as the mirrors have told their epochs"
    )]
    MapUnreadable(String),
    /// Its entry may not stand in a map.
    #[error("it cannot stand in the mirror map: {0}")]
    Refused(String),
}

impl Trouble {
    /// The reason in an event or a condition.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::DiskChanged { .. } => "DiskChanged",
            Self::SharedDisk(_) => "SharedDisk",
            Self::NoNode(_) => "NoNode",
            Self::MapUnreadable(_) => "MapUnreadable",
            Self::Refused(_) => "Refused",
        }
    }

    /// Whether it happens once (and is then told until the holder serves again) rather than lasting while it is seen.
    #[must_use]
    pub fn is_moment(&self) -> bool {
        match self {
            Self::DiskChanged { .. } => true,
            Self::SharedDisk(_) | Self::NoNode(_) | Self::MapUnreadable(_) | Self::Refused(_) => false,
        }
    }
}
