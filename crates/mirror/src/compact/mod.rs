//! Collections for a million artifacts: a mirror keeps all of them in memory, and that is most of what it takes.
//!
//! A hash map doubles when it is full, so half of it is empty on average, entries, keys and all. Here the entries stand
//! densely, and only the tables that find them, of four bytes each, have room to grow. What refers to an entry does so by
//! its [`Place`], four bytes instead of a key.
//!
//! * [`Slab`]: entries by place.
//! * [`Parts`]: entries by hash part, too; [`HashParts`]: a set of them.
//! * [`Chains`]: entries by any other key, which several can have.
//! * [`Counts`]: how often there is something.
//! * [`Lists`]: many short lists.

mod chains;
mod counts;
mod lists;
mod parts;
mod set;
mod slab;

pub use chains::Chains;
pub use counts::Counts;
pub use lists::{List, Lists};
pub use parts::Parts;
pub use set::HashParts;
pub use slab::Slab;

/// Where an entry is. It stays there as long as it exists; then another one may come there.
pub type Place = u32;

/// The place that comes after `length` of them. There is no memory for as many as a place can tell apart.
fn place_after(length: usize) -> Place {
    Place::try_from(length).unwrap_or(Place::MAX)
}

fn index(place: Place) -> usize {
    place as usize
}
