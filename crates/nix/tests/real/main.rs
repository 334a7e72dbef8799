//! The real Nix, in every version that is there, as a second reader and writer of what this crate reads and writes.
//!
//! `cargo xtask setup` gets the newer versions; without one the tests say that they are skipped, unless
//! `GRANARY_REQUIRE_TOOLS=1`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are outside of #[test] functions")]

mod cache;
mod compressions;
mod key_files;
mod made;
mod narinfos;
mod signatures;
mod version;
