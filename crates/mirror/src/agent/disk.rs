//! Watches whether the disk takes anything in, and has room: Linux makes a disk read-only when it finds it damaged, and an admin may.
//!
//! What is there is served all the same, so this has nothing to do with being ready. It also tells the tree that time passes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_placement::report::CapacityReport;
use tokio_util::sync::CancellationToken;

use super::scrub::Wakes;
use super::status::Status;
use crate::capacity::NoRoom;
use crate::metrics::Metrics;
use crate::tree::Tree;

/// Between two looks, each of which costs a system call while nothing is wrong.
const EVERY: Duration = Duration::from_secs(2);

/// Looks until `stop`, tells, and wakes everybody when there is something to make up for.
pub(super) async fn watch(
    tree: Arc<Tree>,
    status: Arc<Status>,
    metrics: Arc<Metrics>,
    wakes: Wakes,
    stop: CancellationToken,
) {
    let (mut before, mut full_before, began) = (true, None, Instant::now());
    loop {
        let looked = Arc::clone(&tree);
        let look = move || {
            let takes_in = looked.takes_in();
            looked.time_passes(began.elapsed());
            looked.look_for_room(began.elapsed());
            (takes_in, looked.capacity().full())
        };
        let Ok((now, full)) = tokio::task::spawn_blocking(look).await else { return };
        if now != before || !now || full != full_before {
            tell(&tree, &status, &metrics);
        }
        if now && !before {
            wakes.all();
        }
        (before, full_before) = (now, full);
        if tokio::time::timeout(EVERY, stop.cancelled()).await.is_ok() {
            return;
        }
    }
}

/// Tells of the room on the disk.
pub(super) fn tell(tree: &Tree, status: &Status, metrics: &Metrics) {
    let capacity = tree.capacity();
    let full = capacity.full();
    let report = CapacityReport {
        free: capacity.free(),
        read_only: full == Some(NoRoom::ReadOnly),
        full: full.map(|full| full.to_string()),
    };
    metrics.upkeep.capacity(&report);
    status.upkeep(|upkeep| upkeep.capacity = Some(report));
}
