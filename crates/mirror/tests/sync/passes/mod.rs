//! What passes do one after the other, and for several policies.

use std::sync::{Arc, Mutex};

use granary_mirror::sync::{Assigned, Observer, PartitionSet, PolicyJob};
use granary_nix::StorePath;
use granary_placement::Partition;
use granary_placement::report::{PolicyReport, Refusal};

mod again;
mod closures;
mod policies;

fn policy(name: &str, roots: &[&StorePath], assigned: Assigned) -> PolicyJob {
    PolicyJob { name: name.into(), roots: roots.iter().map(|root| (*root).clone()).collect(), assigned }
}

/// Assigned are the partitions of these paths.
fn only(paths: &[&StorePath]) -> Assigned {
    let partitions: Vec<_> =
        paths.iter().map(|path| Partition::of(path.hash_part().as_str()).unwrap()).collect();
    Assigned::Partitions(Arc::new(PartitionSet::from_fn(|partition| partitions.contains(&partition))))
}

#[derive(Default)]
struct Seen {
    published: Mutex<Vec<StorePath>>,
    refused: Mutex<Vec<(Refusal, bool)>>,
    progress: Mutex<Vec<Vec<PolicyReport>>>,
}

impl Observer for Seen {
    fn progress(&self, policies: &[PolicyReport]) {
        self.progress.lock().unwrap().push(policies.to_vec());
    }

    fn published(&self, store_path: &StorePath, _bytes: u64) {
        self.published.lock().unwrap().push(store_path.clone());
    }

    fn refused(&self, refusal: &Refusal, again: bool) {
        self.refused.lock().unwrap().push((refusal.clone(), again));
    }
}
