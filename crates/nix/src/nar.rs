//! NAR archives: the form in which Nix packs a store path.
//!
//! [`NarReader`] is fed with bytes as they come and tells what stands in the archive. It accepts exactly what Nix
//! itself writes: one file tree has one archive, so that equal trees have equal digests. It needs no more memory for a
//! large archive than for a small one.

mod error;
mod event;
mod file_digest;
mod grammar;
mod names;
mod reader;
#[cfg(test)]
mod tests;
mod token;
#[cfg(test)]
pub(crate) mod writer;

pub use error::{NarError, NarProblem};
pub use event::NarEvent;
pub use file_digest::FileDigest;
pub(crate) use names::is_name;
pub use reader::NarReader;

/// Longest name of a directory entry, in bytes: what a Linux file system can hold.
pub const MAX_NAME: usize = 255;

/// Longest target of a symlink, in bytes: what Linux can make (4096 with the final NUL).
pub const MAX_TARGET: usize = 4095;

/// Levels of the tree, the root being the first.
///
/// Both Nix's parser and every reader of a `.ls` file call themselves for each level, so an archive of directories in
/// directories could exhaust their stack. A level of the tree is two of the listing's JSON, and readers made with
/// `serde_json` stop at 127: a listing of 63 levels is the deepest that they can read.
pub const MAX_DEPTH: usize = 63;
