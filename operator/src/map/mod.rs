//! The mirror map of each namespace: what it should say, and writing it.
//!
//! # What other controllers can rely on
//!
//! The map is the record of **which node a holder with a host path is pinned to** ([`granary_placement::Mirror::node`]). This
//! module alone assigns nodes, once, over zones, and writes the assignment to the map *before* anything is built from it. So
//! a controller that builds a holder reads [`Maps::get`] and, for a holder with a host path whose entry has no `node` yet,
//! builds nothing and waits for the map's next change. An assignment changes only on purpose: by deleting the
//! `CacheMirror`, scaling below the ordinal, or editing `node` in the map by hand. When the map itself is lost, assignments
//! come back from `status.mirrors[].node` of the `CacheMirror`.
//!
//! [`Maps::notes`] has what is wrong with a holder as the map's writer sees it (no node, another disk, a disk that two
//! mirrors share), for the conditions of its `CacheMirror`. The events about it are published here.

mod cache;
pub mod desired;
mod holders;
mod next;
mod nodes;
mod note;
pub mod policies;
mod recover;
mod state;
mod stored;
mod tell;
mod watch;
mod writer;

pub use cache::{MapEntry, Maps};
pub use note::{Note, Trouble};
pub use stored::WriteError;
pub use watch::watch;
pub use writer::Writer;

/// The name of the ConfigMap that holds a namespace's map.
pub const CONFIG_MAP: &str = "granary-mirror-map";
/// The key of the map in the ConfigMap.
pub const KEY: &str = "map.json";
