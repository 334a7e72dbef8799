//! Brings the tree to what the policies want: resolves closures, pulls what is assigned, verifies, publishes.
//!
//! * [`job`]: what a pass is asked to do.
//! * [`outcome`]: what it tells about itself.
//!
//! A pass first resolves the closure of every policy's roots, from the tree, the catalog and the sources' narinfos; all
//! of it goes into the catalog. Then it pulls the artifacts that are assigned to this mirror and are not published,
//! references before referrers. What is refused is told with its reason, and so is everything that needs it; the rest
//! goes on.

mod board;
mod demand;
mod gather;
mod graph;
pub mod job;
mod kept;
mod memory;
mod obtain;
pub mod outcome;
mod pass;
mod plan;
mod pull;
mod report;
mod resolve;
mod schedule;

use std::collections::HashSet;
use std::sync::Arc;

use granary_fetch::Fetcher;
use granary_nix::HashPart;
use tokio::sync::Mutex;

use crate::refusals::Refusals;
use crate::tree::Tree;
use crate::wants::Wants;
use memory::{Memory, Scope};

pub use job::{Assigned, Job, PartitionSet, PolicyJob, Roots, trust_of};
pub use outcome::{Demand, Observer, PassOutcome};

/// Runs passes over one tree, one at a time, and remembers between them what need not be asked again.
#[derive(Debug)]
pub struct Syncer {
    tree: Arc<Tree>,
    fetcher: Fetcher,
    memory: Mutex<Memory>,
}

impl Syncer {
    /// For this tree, with this fetcher.
    #[must_use]
    pub fn new(tree: Arc<Tree>, fetcher: Fetcher) -> Self {
        Self { tree, fetcher, memory: Mutex::default() }
    }

    /// The same for a tree whose catalog has more than the policies want: that is left to whoever put it there.
    #[must_use]
    pub fn with_guests(mut self) -> Self {
        self.memory.get_mut().scope = Scope::Shared;
        self
    }

    /// The same, and after each resolution `wants` is told what the policies want, or what the channels do whose parts these are.
    #[must_use]
    pub fn telling(mut self, wants: Arc<Wants>) -> Self {
        self.memory.get_mut().wants = Some(wants);
        self
    }

    /// The same, and the records of these refusals are left alone.
    #[must_use]
    pub fn beside(mut self, refusals: Arc<Refusals>) -> Self {
        self.memory.get_mut().refusals = Some(refusals);
        self
    }

    /// The same for jobs that are a part of what is wanted: nothing else in the tree is touched.
    #[must_use]
    pub fn for_parts(mut self) -> Self {
        self.memory.get_mut().scope = Scope::Part;
        self
    }

    /// Forgets every refusal but these: nobody wants the rest any more, or it is here.
    pub async fn keep_refusals(&self, refused: &HashSet<HashPart>) {
        self.memory.lock().await.accept_where(|_, hash| !refused.contains(hash));
    }

    /// Does whatever `job` leaves to do. A refused artifact is tried again: at once in the next pass, then at intervals
    /// that double up to half an hour.
    ///
    /// Dropping the future ends the pass at any point, and leaves nothing half-done that a later pass would not put right.
    /// A pass that is started while another one runs waits for it.
    pub async fn pass(&self, job: &Job, observer: &dyn Observer) -> PassOutcome {
        let mut memory = self.memory.lock().await;
        pass::run(&self.tree, &self.fetcher, &mut memory, job, observer).await
    }
}
