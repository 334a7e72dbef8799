//! What a pass does on the disk, beside the threads that wait for the network.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use granary_nix::HashPart;

use super::Pass;
use crate::sync::graph::Node;
use crate::sync::outcome::Observer;
use crate::tree::{Tree, TreeError};

/// Artifacts that are looked at before the observer hears that the pass moves.
const LOOK: usize = 4096;

impl<'p> Pass<'p> {
    /// Looks whether what was published is still there.
    pub(super) async fn look(&self) {
        let assigned: Vec<Node> = self.assigned.iter().collect();
        for some in assigned.chunks(LOOK) {
            let some: Vec<HashPart> = some.iter().map(|node| self.memory.graph.hash(*node)).collect();
            self.blocking(move |tree| {
                for hash in some.iter().filter(|hash| tree.holds(hash)) {
                    tree.still_holds(hash);
                }
            })
            .await;
        }
    }

    /// Does something with the disk that must not fail silently, and need not end the pass. It begins at once.
    pub(super) fn disk<W>(&self, action: &'static str, work: W) -> impl Future<Output = ()> + use<'p, W>
    where
        W: FnOnce(&Tree) -> Result<(), TreeError> + Send + 'static,
    {
        let (done, failed) = (self.blocking(work), Arc::clone(&self.disk_failed));
        async move {
            if let Some(Err(error)) = done.await {
                tracing::error!(%error, "cannot {action}");
                failed.store(true, Ordering::Relaxed);
            }
        }
    }

    pub(super) fn blocking<T, W>(&self, work: W) -> impl Future<Output = Option<T>> + use<'p, T, W>
    where
        T: Send + 'static,
        W: FnOnce(&Tree) -> T + Send + 'static,
    {
        let tree = Arc::clone(self.tree);
        let waiting = OnDisk::begin(self.observer);
        let done = tokio::task::spawn_blocking(move || work(&tree));
        async move {
            let done = done.await.ok();
            drop(waiting);
            done
        }
    }
}

/// Tells the observer that the pass waits for the disk, as long as it lives.
struct OnDisk<'p>(&'p dyn Observer);

impl<'p> OnDisk<'p> {
    fn begin(observer: &'p dyn Observer) -> Self {
        observer.on_disk(true);
        Self(observer)
    }
}

impl Drop for OnDisk<'_> {
    fn drop(&mut self) {
        self.0.on_disk(false);
    }
}
