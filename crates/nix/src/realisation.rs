//! Realisations: which path an output of a content-addressed derivation turned out to be.
//!
//! Nix up to 2.34 names them by a hash of the derivation ([`Realisation`], below `realisations/`), and from 2.35 on by
//! its path ([`BuildTraceEntry`], below `build-trace-v2/`). Neither can be made from the other, so a mirror carries both
//! as they came; what is read here is what the signatures need.

mod build_trace;
mod document;
mod drv_output;
mod error;
mod sigs;

pub use build_trace::{BuildTraceEntry, BuildTraceKey};
pub use document::Realisation;
pub use drv_output::DrvOutput;
pub use error::RealisationError;

/// Longest document that is read, in bytes. Real ones have a few hundred.
pub const MAX_TEXT: usize = 1024 * 1024;
