//! The agent in each mirror: pulls, verifies, publishes, reports, and runs nginx in front
pub mod sync;
pub mod tree;
pub mod verify;
