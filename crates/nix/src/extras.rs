//! What a cache serves beside narinfos and NARs: listings, build logs, the index of debug information, realisations and
//! build traces. Their names, and the documents that have no module of their own.

mod build_id;
mod debug_info;
mod error;
mod name;

pub use build_id::BuildId;
pub use debug_info::{DebugInfo, MAX_TEXT as MAX_DEBUG_INFO};
pub use error::ExtraError;
pub use name::{Extra, ExtraKind};
