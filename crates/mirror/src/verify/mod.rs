//! Checks a whole tree, and single narinfo files, without trusting anything that is written in them.
//!
//! The tree is only read, so that one in use, or one on another machine's disk, can be checked too.

pub(crate) mod artifact;
pub(crate) mod beside;
mod extras;
mod narinfos;
mod outcome;
mod tree;
mod workers;

pub use narinfos::{KeyCheck, NarInfoCheck, check_narinfo, verify_narinfos};
pub use outcome::{Finding, Kind, TreeCheck};
pub use tree::{VerifyError, verify_tree};
pub(crate) use workers::{on_all_cores, on_threads};
