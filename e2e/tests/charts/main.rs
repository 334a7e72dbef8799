//! The charts, rendered by the real Helm: what a cluster would get.
//!
//! Helm comes from `GRANARY_BIN`, where `cargo xtask test` puts it; without it each test says so and passes.

// Says to clippy that helpers are test code too.
#![cfg(test)]

mod definitions;
mod helm;
mod notes;
mod permissions;
mod pod;
mod render;
mod values;
