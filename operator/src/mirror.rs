//! The `CacheMirror` controller, as a pipeline: `dereference` (all reads) → `validate` (pure) → `build` (pure) → `apply` (all
//! writes) → `status`.

mod build;
mod names;
mod resources;
mod validate;

#[cfg(test)]
mod fixtures;
