//! Brings the tree to what the policies want: resolves closures, pulls what is assigned, verifies, publishes.
//!
//! * [`job`]: what a pass is asked to do.
//! * [`outcome`]: what it tells about itself.
//!
//! ```ignore
//! let syncer = Syncer::new(tree, Fetcher::new(limits)?);
//! let outcome = syncer.pass(&job, &observer).await;   // dropping the future ends the pass; nothing half-done stays
//! ```

pub mod job;
pub mod outcome;

pub use job::{Assigned, Job, PartitionSet, PolicyJob};
pub use outcome::{Observer, PassOutcome};
