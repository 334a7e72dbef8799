//! Listings (`<hash part>.ls`): what stands in an artifact, as JSON, so that a program can look into it without
//! fetching it.

mod error;
mod outline;
mod tree;
mod writer;

pub use error::ListingError;
pub use outline::Outline;
pub use tree::{Listing, Node};
pub use writer::ListingWriter;

/// Most files, directories and symlinks that a listing has. The largest artifacts in use have a few hundred thousand.
pub const MAX_ENTRIES: usize = 1 << 20;

/// Longest listing, in bytes.
pub const MAX_TEXT: usize = 128 * 1024 * 1024;
