//! Where copies belong, and the two documents that mirrors and operator exchange about it. Pure: no I/O, no clock, no
//! randomness, and integers only, so that every machine computes the same placement from the same map.
//!
//! * [`map`]: the mirror map, what the operator publishes.
//! * [`report`]: what each mirror answers about itself.
//! * [`partition`]: the 32,768 groups of artifacts that are placed together.
#![forbid(unsafe_code)]

pub mod map;
pub mod name;
pub mod partition;
pub mod report;

pub use map::{MapError, Mirror, MirrorMap, MirrorState, Policy, Spread, TopologyKey};
pub use name::{MirrorName, NameError};
pub use partition::{PARTITIONS, Partition};
