//! Verified transfer of narinfos and NARs from upstreams and other mirrors.
//!
//! * [`source`]: where artifacts can be had, and whose keys vouch for them.
//! * [`fetcher`]: the HTTP side: narinfos, and NAR files into a temporary file, with retries, resumption and time limits.
//! * [`narinfo`]: what a narinfo must be before it counts.
//! * [`nar`]: FileHash, FileSize, NarHash and NarSize of bytes, computed while they stream.
//! * [`fault`]: why something was not taken, in the terms of the report.

pub mod fault;
pub mod limits;
pub mod source;

pub use fault::Fault;
pub use limits::Limits;
pub use source::{Source, SourceKind};
