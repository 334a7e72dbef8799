//! Narinfos: what a binary cache says about one artifact.
//!
//! [`NarInfoView`] is a strict, borrowing reading of bytes as they came; [`NarInfo`] is the owned value, which writes
//! itself in one canonical form that every measured client accepts.

mod error;
mod lines;
mod owned;
mod view;

pub use error::{FieldProblem, NarInfoError};
pub use owned::NarInfo;
pub use view::{Line, NarInfoView};

/// Longest narinfo that is read, in bytes. The longest of a thousand real ones had 37.5 kB.
pub const MAX_TEXT: usize = 1024 * 1024;
