//! Leader election over one `Lease`, by the rules of client-go, but with every decision a pure function of what was
//! remembered, what is observed, and a monotonic clock.
//!
//! * [`decide`]: the decisions. No I/O, no clock.
//! * [`candidate`]: the loop around them, with timeouts.
//! * [`lease`]: the three requests (get, create, replace).
//!
//! A candidate never compares a time *in* the lease with a clock, so clocks may differ. It takes another's lease only after
//! it has seen it unchanged for a whole lease duration, and gives up its own a renew deadline after the *beginning* of its
//! last successful renewal. As the deadline is shorter than the duration, the old leader has stopped before the new one begins.
//!
//! A process that is paused between the check and its next write can still write late: **a lease is a throttle, not a fence.**
//! So every write of this operator carries a resource version or is idempotent, and nothing is deleted because of who leads.

mod candidate;
mod decide;
mod lease;
#[cfg(test)]
mod model;

pub use candidate::{Election, Ended};
pub use decide::{Timings, TimingsError};
pub use lease::{KubeLease, LeaseError, LeaseStore};

/// The lease's name, in the operator's namespace.
pub const LEASE: &str = "granary-operator";
