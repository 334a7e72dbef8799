//! The agent in each mirror: pulls, verifies, publishes, reports, and runs nginx in front
pub mod agent;
pub mod capacity;
pub mod carry;
pub mod cli;
pub mod client;
pub mod commands;
pub mod config;
pub mod front;
pub mod map;
pub mod metrics;
pub mod push;
pub mod retention;
pub mod scrub;
pub mod sync;
pub mod through;
pub mod tree;
pub mod verify;
mod words;
