//! The closure of the roots: which artifacts there are, by narinfos that are trusted.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use granary_nix::{HashPart, NarInfo, StorePath, Trust};
use tokio::task::JoinSet;

use super::graph::{Graph, Id, Node};
use super::memory::{Known, Memory};
use super::obtain::{Context, Found, Problem};
use crate::compact::HashParts;

/// Narinfos that are asked for at once.
const AT_ONCE: usize = 32;

/// What is wanted of the artifacts in a closure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Their narinfos.
    Narinfos,
    /// Only which ones they are.
    Names,
}

/// What became of the hash part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Outside,
    Asked,
    Found,
    Lost,
}

/// What became of the paths in the closure. What the found ones refer to is in the graph.
#[derive(Debug, Default)]
pub(super) struct Closure {
    /// By node.
    states: Vec<State>,
    /// Which path was asked for, where it is not the first one with its hash part.
    others: HashMap<Node, Id>,
    /// Narinfos of found ones that are not in the catalog as they are here.
    pub(super) fresh: HashMap<Node, Found>,
    /// Those without a narinfo that counts, and why.
    pub(super) lost: HashMap<Node, (StorePath, Problem)>,
}

impl Closure {
    /// Takes the path in, unless one with its hash part is in here. Its node, if it was taken in.
    pub(super) fn ask(&mut self, graph: &Graph, id: Id) -> Option<Node> {
        let node = graph.node(id);
        let place = node as usize;
        if place >= self.states.len() {
            self.states.resize(graph.len().max(place + 1), State::Outside);
        }
        if self.states[place] != State::Outside {
            return None;
        }
        self.states[place] = State::Asked;
        if node != id {
            self.others.insert(node, id);
        }
        Some(node)
    }

    fn ask_all(&mut self, graph: &Graph, ids: &[Id], open: &mut VecDeque<Node>) {
        open.extend(ids.iter().filter_map(|id| self.ask(graph, *id)));
    }

    /// There is a narinfo that counts, which is in the graph.
    pub(super) fn find(&mut self, node: Node) {
        if let Some(state) = self.states.get_mut(node as usize) {
            *state = State::Found;
        }
    }

    /// There is none.
    pub(super) fn lose(&mut self, node: Node, path: StorePath, problem: Problem) {
        if let Some(state) = self.states.get_mut(node as usize) {
            *state = State::Lost;
        }
        self.lost.insert(node, (path, problem));
    }

    /// The path that stands for a hash part here.
    pub(super) fn asked(&self, node: Node) -> Id {
        self.others.get(&node).copied().unwrap_or(node)
    }

    pub(super) fn has(&self, node: Node) -> bool {
        self.states.get(node as usize) == Some(&State::Found)
    }

    /// The found ones, in no particular order.
    pub(super) fn found(&self) -> impl Iterator<Item = Node> {
        self.states.iter().zip(0..).filter(|(state, _)| **state == State::Found).map(|(_, node)| node)
    }

    /// The hash parts of the found ones.
    pub(super) fn hashes(&self, graph: &Graph) -> HashParts {
        self.found().map(|node| graph.hash(node)).collect()
    }

    /// What a found one refers to.
    pub(super) fn references<'g>(&self, graph: &'g Graph, node: Node) -> &'g [Id] {
        let references = || graph.references(self.asked(node)).unwrap_or_default();
        if self.has(node) { references() } else { &[] }
    }

    /// Everything lost that may refer to anything: all but what was only listed by somebody, and what every upstream says it
    /// does not have.
    pub(super) fn unexplained<'c>(
        &'c self,
        listed: &'c HashParts,
    ) -> impl Iterator<Item = (&'c StorePath, &'c Problem)> {
        let explained =
            |hash: &HashPart, problem: &Problem| !problem.fault.is_transient() && listed.contains(hash);
        let open = self.lost.values().filter(move |(path, problem)| !explained(&path.hash_part(), problem));
        open.map(|(path, problem)| (path, problem))
    }
}

/// Resolves the closure of `roots`, many narinfos at once. What is known from earlier, or is on our disk and meets
/// `trust`, is not asked for, unless it is in doubt.
pub(super) async fn resolve(
    context: &Context,
    memory: &mut Memory,
    trust: &Arc<Trust>,
    roots: impl Iterator<Item = &StorePath>,
    need: Need,
) -> Closure {
    let mut closure = Closure::default();
    let mut open: VecDeque<Node> = VecDeque::new();
    let mut running: JoinSet<(Node, StorePath, Result<OnDisk, Problem>)> = JoinSet::new();
    let mut paths = HashMap::new();
    for root in roots {
        let id = memory.graph.id(root);
        open.extend(closure.ask(&memory.graph, id));
    }
    loop {
        while running.len() < AT_ONCE
            && let Some(node) = open.pop_front()
        {
            let (id, hash) = (closure.asked(node), memory.graph.hash(node));
            let doubtful = memory.is_doubtful(&hash);
            if !doubtful && let Some(known) = memory.known(id, &context.tree, need) {
                closure.find(node);
                if let Known::Only(info) = known {
                    closure.fresh.insert(node, Found { info, origin: None });
                }
                closure.ask_all(&memory.graph, memory.graph.references(id).unwrap_or_default(), &mut open);
                continue;
            }
            let Some(path) = memory.graph.path(id) else { continue };
            let (context, trust) = (context.clone(), Arc::clone(trust));
            running.spawn(async move {
                let found = one(&context, trust, &path, doubtful).await;
                (node, path, found)
            });
        }
        // A task of ours does not panic; if one did, its path would be missing from the closure, and nothing worse.
        let Some(Ok((node, path, result))) = running.join_next().await else { break };
        match result {
            Ok(OnDisk { mut found, in_catalog }) => {
                let id = closure.asked(node);
                if !in_catalog && need == Need::Narinfos {
                    share(&mut found, &mut memory.graph, &mut paths);
                }
                memory.learn(id, &found.info, in_catalog || need == Need::Names);
                closure.find(node);
                if !in_catalog && need == Need::Narinfos {
                    closure.fresh.insert(node, found);
                }
                closure.ask_all(&memory.graph, memory.graph.references(id).unwrap_or_default(), &mut open);
            }
            Err(problem) => closure.lose(node, path, problem),
        }
    }
    closure
}

/// Most paths stand in several narinfos: each is to be in memory once.
fn share(found: &mut Found, graph: &mut Graph, paths: &mut HashMap<Id, StorePath>) {
    let info = Arc::make_mut(&mut found.info);
    for path in info.references.iter_mut().chain([&mut info.store_path]) {
        *path = paths.entry(graph.id(path)).or_insert_with(|| path.clone()).clone();
    }
}

/// A verified narinfo, and whether the catalog has it as it is.
struct OnDisk {
    found: Found,
    in_catalog: bool,
}

impl From<Found> for OnDisk {
    /// Of a source.
    fn from(found: Found) -> Self {
        Self { found, in_catalog: false }
    }
}

/// The narinfo of the path, from the disk or from a source.
pub(super) async fn find(context: &Context, trust: Arc<Trust>, path: &StorePath) -> Result<Found, Problem> {
    one(context, trust, path, false).await.map(|OnDisk { found, .. }| found)
}

async fn one(
    context: &Context,
    trust: Arc<Trust>,
    path: &StorePath,
    doubtful: bool,
) -> Result<OnDisk, Problem> {
    if doubtful {
        return match context.find(path).await {
            Err(problem) if problem.fault.is_transient() => {
                on_disk(context, trust, path).await.ok_or(problem)
            }
            result => result.map(OnDisk::from),
        };
    }
    match on_disk(context, trust, path).await {
        Some(found) => Ok(found),
        None => context.find(path).await.map(OnDisk::from),
    }
}

/// The narinfo in the tree, else in the catalog, if it is about `path` and still trusted.
async fn on_disk(context: &Context, trust: Arc<Trust>, path: &StorePath) -> Option<OnDisk> {
    let (tree, path) = (Arc::clone(&context.tree), path.clone());
    let read = move || {
        let hash = path.hash_part();
        let good = |info: &NarInfo| info.store_path == path && trust.judge(info).is_ok();
        let published = tree.published_narinfo(&hash).filter(good);
        if published.is_none() && tree.holds(&hash) {
            tracing::warn!(%path, "the published narinfo cannot be read, or is not one that is trusted now; the artifact is pulled again");
            tree.forget(&hash);
        }
        let info = published.or_else(|| tree.catalog_narinfo(&hash).filter(good))?;
        let in_catalog = tree.is_in_catalog(&info);
        Some(OnDisk { found: Found { info: Arc::new(info), origin: None }, in_catalog })
    };
    tokio::task::spawn_blocking(read).await.ok()?
}
