//! What a pass tells about itself, while it runs and at its end.

use granary_placement::report::{PolicyReport, Refusal, UpstreamReport};

use crate::compact::HashParts;

/// How a pass ended. A pass never fails as a whole: what it could not do is in here.
#[derive(Clone, Debug, Default)]
pub struct PassOutcome {
    /// One entry for each policy of the job, in its order.
    pub policies: Vec<PolicyReport>,
    /// Everything wanted that is not here or not trusted, and why; sorted by store path. An artifact that several
    /// policies want is in here once.
    pub refused: Vec<Refusal>,
    /// How each upstream of the job last answered.
    pub upstreams: Vec<UpstreamReport>,
    /// Artifacts that this pass published.
    pub published: u64,
    /// Bytes of their NAR files.
    pub published_bytes: u64,
    /// What the job wants altogether.
    pub demand: Demand,
}

/// What a job wants, on this mirror or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// All of it is known, so that everything else is wanted by nobody.
    Known(HashParts),
    /// A part of it may be missing, for the reason given: nothing follows about what is not seen.
    Unknown(String),
}

impl Default for Demand {
    fn default() -> Self {
        Self::Unknown("no pass has ended".into())
    }
}

impl Demand {
    /// The set, if it is known.
    #[must_use]
    pub fn known(&self) -> Option<&HashParts> {
        match self {
            Self::Known(all) => Some(all),
            Self::Unknown(_) => None,
        }
    }
}

impl PassOutcome {
    /// Whether every policy has what it wants here, except what is refused for its content: nothing is to be done until
    /// the job or an upstream changes.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.policies.iter().all(|policy| policy.synced)
    }
}

/// Who watches a pass. Every method is called from the pass itself and must return at once.
pub trait Observer: Send + Sync {
    /// The policies' state changed: after the closures are resolved, and a few times a second while artifacts arrive.
    fn progress(&self, policies: &[PolicyReport]) {
        let _ = policies;
    }

    /// An artifact was published: `bytes` is the size of its NAR file.
    fn published(&self, store_path: &granary_nix::StorePath, bytes: u64) {
        let _ = (store_path, bytes);
    }

    /// So many artifacts are left to get in this pass.
    fn queued(&self, artifacts: u64) {
        let _ = artifacts;
    }

    /// The pass begins to wait for the disk, or has waited.
    fn on_disk(&self, begins: bool) {
        let _ = begins;
    }

    /// An artifact was refused in this pass. It was refused before, too, when `again` is true.
    fn refused(&self, refusal: &Refusal, again: bool) {
        let _ = (refusal, again);
    }
}

/// Watches nothing.
impl Observer for () {}
