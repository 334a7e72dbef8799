//! Where copies belong, and the two documents that mirrors and operator exchange about it. Pure: no I/O, no clock, no
//! randomness, and integers only, so that every machine computes the same placement from the same map.
//!
//! * [`map`]: the mirror map, what the operator publishes.
//! * [`report`]: what each mirror answers about itself.
//! * [`partition`]: the 32,768 groups of artifacts that are placed together.
//! * `draw`, `straw`, `rank`: the weighted race that orders a policy's mirrors for a partition.
//! * [`table`]: the ranking of one policy, compiled for all partitions.
//! * [`compiled`]: a checked map with the tables of its policies. Start here.
//! * [`entries`]: the Mirrors entries of one mirror.
//! * [`shortfall`]: why a policy cannot hold in full.
//! * [`assign`]: which node a holder is pinned to.
//! * `network`: what both sides take for an address or a network.
#![forbid(unsafe_code)]

pub mod assign;
pub mod compiled;
mod draw;
pub mod entries;
pub mod map;
pub mod name;
mod network;
pub mod partition;
mod rank;
pub mod report;
pub mod shortfall;
mod straw;
pub mod table;

pub use compiled::CompiledMap;
pub use entries::Entries;
pub use map::{Channel, MapError, Mirror, MirrorMap, MirrorState, Policy, Retention, Spread, TopologyKey};
pub use name::{MirrorName, NameError};
pub use network::is_network;
pub use partition::{PARTITIONS, Partition};
pub use shortfall::Shortfall;
pub use table::Table;
