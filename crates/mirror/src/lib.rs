//! The agent in each mirror: pulls, verifies, publishes, reports, and runs nginx in front
#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;
#[cfg(test)]
extern crate self as granary_mirror;

pub mod agent;
mod arriving;
pub mod capacity;
pub mod carry;
pub mod channels;
pub mod cli;
pub mod commands;
pub mod compact;
pub mod config;
mod counted;
pub mod extras;
pub mod front;
mod journal;
#[cfg(test)]
mod killed;
mod lately;
pub mod listen;
pub mod map;
pub mod metrics;
pub mod open_files;
mod percent;
pub mod push;
pub mod refusals;
pub mod retention;
pub mod scrub;
pub mod sync;
pub mod through;
pub mod tree;
pub mod verify;
pub mod wants;
mod words;
