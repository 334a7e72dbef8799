//! The real Nix, in every version that is there, as a second reader and writer of what this crate reads and writes.
//!
//! `cargo xtask setup` gets the newer versions; without one the tests say that they are skipped, unless
//! `GRANARY_REQUIRE_TOOLS=1`.
// Clippy counts only functions marked `#[test]` as tests, and the helpers here serve nothing else.
#![allow(clippy::unwrap_used, clippy::panic)]

mod cache;
mod compressions;
mod key_files;
mod made;
mod narinfos;
mod signatures;
mod version;
