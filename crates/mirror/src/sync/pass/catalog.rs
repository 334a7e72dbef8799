//! What a pass writes into the catalog, and what it then has to pull.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use granary_nix::NarInfo;

use super::Pass;
use crate::sync::board::Board;
use crate::sync::graph::Node;
use crate::sync::plan::Marks;
use crate::sync::pull::Order;
use crate::sync::resolve::Closure;

impl<'p> Pass<'p> {
    /// Writes the narinfos of everything that can be had, wherever it is held, references first. What was refused for its
    /// bytes, and has not been published since, is left out, and what needs it: its NAR file is not one to send clients for.
    ///
    /// The writing begins at once; what is returned waits for its end.
    pub(super) fn write_catalog(
        &self,
        closure: &Closure,
        order: &[Node],
        good: &dyn Fn(Node) -> bool,
    ) -> impl Future<Output = ()> + use<'p> {
        let graph = &self.memory.graph;
        let mut whole = Marks::new(graph);
        let mut infos: Vec<Arc<NarInfo>> = Vec::with_capacity(closure.fresh.len());
        for node in order.iter().copied() {
            let hash = graph.hash(node);
            let doubtful = self.memory.is_doubtful(&hash) && !self.tree.in_catalog(&hash);
            let own = closure.asked(node);
            let needed = closure.references(graph, node).iter().filter(|reference| **reference != own);
            if good(node)
                && !doubtful
                && needed.map(|needed| graph.node(*needed)).all(|needed| whole.has(needed))
            {
                whole.insert(node);
                infos.extend(closure.fresh.get(&node).map(|found| Arc::clone(&found.info)));
            }
        }
        let written = Arc::clone(&self.written);
        self.disk("write the catalog", move |tree| {
            tree.put_in_catalog(infos.iter().map(AsRef::as_ref))?;
            written.store(true, Ordering::Relaxed);
            Ok(())
        })
    }

    /// What the catalog has now is not kept in memory any longer.
    pub(super) fn forget_written(&mut self) {
        if self.written.swap(false, Ordering::Relaxed) {
            self.memory.written(self.tree);
        }
    }

    /// What is to be pulled, references first. Takes the narinfos that are only here.
    pub(super) fn orders(
        &self,
        closure: &mut Closure,
        order: &[Node],
        good: impl Fn(Node) -> bool,
    ) -> (Vec<Order>, Board) {
        let (now, graph, mut fresh) =
            (Instant::now(), &self.memory.graph, std::mem::take(&mut closure.fresh));
        let wanted = || order.iter().copied().filter(|node| self.is_wanted_here(*node) && good(*node));
        let of = |node| {
            let (hash, found) = (graph.hash(node), fresh.remove(&node));
            let path = match &found {
                Some(found) => found.info.store_path.clone(),
                None => graph.path(closure.asked(node))?,
            };
            let nar_size = match &found {
                Some(found) => found.info.nar_size,
                // Gone from the catalog meanwhile: begun in its turn.
                None => self.tree.catalog_entry(&hash).map_or(0, |known| known.expected.nar_size),
            };
            let standing = self.memory.standing(&hash, now).map(|refusal| refusal.reason);
            Some((node, Order { path, nar_size, found, standing }))
        };
        let (nodes, orders): (Vec<Node>, Vec<Order>) = wanted().filter_map(of).unzip();
        let needs = |node| closure.references(graph, node).iter().map(|needed| graph.node(*needed));
        (orders, Board::new(nodes.into_iter().map(|node| (node, needs(node)))))
    }
}
