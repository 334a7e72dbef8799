//! The `CacheMirror` controller, as a pipeline: `dereference` (all reads) → `validate` (pure) → `build` (pure) → `apply` (all
//! writes but the status) → `status` (pure, then written).
//!
//! It builds a holder only when the mirror map says where it is (see [`crate::map`]), and never waits inside a reconcile: what is not
//! there yet wakes it when it comes.

mod apply;
mod build;
mod controller;
mod dereference;
mod error;
mod invalid;
mod names;
mod reconcile;
mod resources;
mod status;
mod stores;
mod validate;

#[cfg(test)]
mod fixtures;

pub use controller::controller;
