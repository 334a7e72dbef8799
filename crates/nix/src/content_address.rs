//! Content addresses, the `CA` field: paths that are named by what they contain, and so need nobody's signature.

mod parse;
mod proof;

pub(crate) use parse::check;
pub use parse::{Algorithm, ContentAddress, ContentAddressError, Method};
pub use proof::{ContentProof, Unproven};
