//! What a closure means for this mirror: which artifacts each policy wants, in which order they can be published, and what
//! cannot be had because something that it needs cannot. Pure.

use std::collections::HashMap;

use granary_fetch::Fault;
use granary_nix::StorePath;
use granary_placement::report::RefusalReason;

use super::graph::{Graph, Node};
use super::obtain::Problem;
use super::resolve::Closure;
use crate::tree;

/// Why an artifact cannot be had: the path that is to blame, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blame {
    pub(super) culprit: StorePath,
    pub(super) reason: RefusalReason,
}

/// Some of the hash parts of a graph.
#[derive(Debug)]
pub(super) struct Marks(Vec<bool>);

impl Marks {
    /// None yet.
    pub(super) fn new(graph: &Graph) -> Self {
        Self(vec![false; graph.len()])
    }

    /// Marks one; whether that is new.
    pub(super) fn insert(&mut self, node: Node) -> bool {
        self.0.get_mut(node as usize).is_some_and(|mark| !std::mem::replace(mark, true))
    }

    pub(super) fn has(&self, node: Node) -> bool {
        self.0.get(node as usize) == Some(&true)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Node> {
        self.0.iter().zip(0..).filter(|(mark, _)| **mark).map(|(_, node)| node)
    }
}

/// The paths that are reached from `roots`, found or lost, sorted by their hash parts.
pub(super) fn members(graph: &Graph, closure: &Closure, roots: impl Iterator<Item = Node>) -> Vec<Node> {
    let mut seen = Marks::new(graph);
    let mut members: Vec<Node> = roots.filter(|node| seen.insert(*node)).collect();
    let mut next = 0;
    while let Some(node) = members.get(next).copied() {
        let references = closure.references(graph, node).iter().map(|reference| graph.node(*reference));
        members.extend(references.filter(|node| seen.insert(*node)));
        next += 1;
    }
    sort(graph, &mut members);
    members
}

fn sort(graph: &Graph, nodes: &mut [Node]) {
    nodes.sort_by_cached_key(|node| graph.hash(*node).pack());
}

/// The found artifacts, references before referrers.
pub(super) fn order(graph: &Graph, closure: &Closure) -> Vec<Node> {
    let mut starts: Vec<Node> = closure.found().collect();
    sort(graph, &mut starts);
    let mut opened = Marks::new(graph);
    let opens = |node| closure.has(node) && opened.insert(node);
    tree::order(starts, opens, |node, stack| {
        let references = closure.references(graph, node).iter();
        stack.extend(references.map(|reference| (graph.node(*reference), false)));
    })
}

/// The found artifacts that need, directly or not, one that is lost or that comes later in `order` than they do.
pub(super) fn blame(graph: &Graph, closure: &Closure, order: &[Node]) -> HashMap<Node, Blame> {
    let mut blamed: HashMap<Node, Blame> = HashMap::new();
    let mut passed = Marks::new(graph);
    for node in order {
        let own = closure.asked(*node);
        let needed = closure.references(graph, *node).iter().filter(|reference| **reference != own);
        let blame =
            needed.map(|reference| (*reference, graph.node(*reference))).find_map(|(reference, needed)| {
                let because = |reason| Some(Blame { culprit: graph.path(reference)?, reason });
                let lost = closure.lost.get(&needed).map(|(path, problem)| (path, problem.fault.reason));
                match lost {
                    Some((culprit, reason)) => Some(Blame { culprit: culprit.clone(), reason }),
                    // Another path with the same hash part is not the path that is needed.
                    None if closure.has(needed) && closure.asked(needed) != reference => {
                        because(RefusalReason::WrongPath)
                    }
                    None if !passed.has(needed) => because(RefusalReason::MissingReference),
                    None => blamed.get(&needed).cloned(),
                }
            });
        passed.insert(*node);
        blamed.extend(blame.map(|blame| (*node, blame)));
    }
    blamed
}

impl From<&Blame> for Problem {
    fn from(blame: &Blame) -> Self {
        let Blame { culprit, reason } = blame;
        let message = format!("needs {culprit}, which is refused: {reason}");
        let fault = Fault::new(RefusalReason::MissingReference, message);
        Self { fault, source: String::new(), blame: Some(blame.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use granary_nix::NarInfo;

    use super::*;

    fn path(name: char) -> StorePath {
        named(name, name)
    }

    fn named(part: char, name: char) -> StorePath {
        StorePath::parse_base_name(&format!("{}-{name}", part.to_string().repeat(32))).unwrap()
    }

    fn learn(graph: &mut Graph, closure: &mut Closure, path: &StorePath, references: &[StorePath]) {
        let references: Vec<_> = references.iter().map(|path| path.base_name().to_owned()).collect();
        let text = format!(
            "StorePath: {path}\nURL: x\nNarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n\
             NarSize: 9\nReferences: {}\n",
            references.join(" ")
        );
        let info: NarInfo = text.parse().unwrap();
        let id = graph.id(path);
        graph.learn(id, &info);
        let node = closure.ask(graph, id).unwrap();
        closure.find(node);
    }

    /// Each word is an artifact and its references; a word of the second list is lost.
    fn closure(found: &[&str], lost: &str) -> (Graph, Closure) {
        let (mut graph, mut closure) = (Graph::default(), Closure::default());
        for word in found {
            let paths: Vec<StorePath> = word.chars().map(path).collect();
            learn(&mut graph, &mut closure, &paths[0], &paths[1..]);
        }
        for name in lost.chars() {
            let problem = Problem::new(Fault::new(RefusalReason::NotFound, ""), String::new());
            let id = graph.id(&path(name));
            let node = closure.ask(&graph, id).unwrap();
            closure.lose(node, path(name), problem);
        }
        (graph, closure)
    }

    fn names(graph: &Graph, nodes: &[Node]) -> String {
        nodes.iter().map(|node| graph.hash(*node).as_str()[..1].to_owned()).collect()
    }

    fn reached(graph: &Graph, closure: &Closure, roots: &str) -> String {
        let roots = roots.chars().map(|name| graph.node_of(&path(name).hash_part()).unwrap());
        names(graph, &members(graph, closure, roots))
    }

    #[test]
    fn references_come_before_referrers() {
        let (graph, closure) = closure(&["abc", "bd", "cd", "dd", "f"], "");
        let order = order(&graph, &closure);
        assert_eq!(names(&graph, &order), "dcbaf");
        assert!(blame(&graph, &closure, &order).is_empty());
        assert_eq!(reached(&graph, &closure, "b"), "bd");
        assert_eq!(reached(&graph, &closure, "fcf"), "cdf");
    }

    #[test]
    fn whatever_needs_a_lost_path_names_it() {
        let (graph, closure) = closure(&["ab", "bx", "c", "dac"], "x");
        let blamed = blame(&graph, &closure, &order(&graph, &closure));
        let mut who: Vec<Node> = blamed.keys().copied().collect();
        sort(&graph, &mut who);
        assert_eq!(names(&graph, &who), "abd");
        let expected = Blame { culprit: path('x'), reason: RefusalReason::NotFound };
        assert!(blamed.values().all(|blame| *blame == expected));
        assert_eq!(reached(&graph, &closure, "a"), "abx", "the lost path is wanted too");
    }

    #[test]
    fn a_cycle_is_refused_and_ends() {
        let (graph, closure) = closure(&["ab", "ba", "ca", "d"], "");
        let order = order(&graph, &closure);
        assert_eq!(order.len(), 4);
        let blamed = blame(&graph, &closure, &order);
        let is_blamed = |name| blamed.contains_key(&graph.node_of(&path(name).hash_part()).unwrap());
        assert!(is_blamed('c') && !is_blamed('d'));
    }

    #[test]
    fn another_path_with_the_same_hash_part_is_not_the_one_that_is_needed() {
        let (mut graph, mut closure) = (Graph::default(), Closure::default());
        // It was seen before, in a pass that asked for it.
        graph.id(&named('b', 'z'));
        learn(&mut graph, &mut closure, &path('b'), &[]);
        learn(&mut graph, &mut closure, &path('a'), &[path('b')]);
        learn(&mut graph, &mut closure, &path('c'), &[named('b', 'z')]);
        learn(&mut graph, &mut closure, &path('d'), &[named('b', 'y')]);
        let blamed = blame(&graph, &closure, &order(&graph, &closure));
        assert_eq!(blamed.len(), 2);
        for (referrer, culprit) in [('c', named('b', 'z')), ('d', named('b', 'y'))] {
            let expected = Blame { culprit, reason: RefusalReason::WrongPath };
            assert_eq!(blamed.get(&graph.node_of(&path(referrer).hash_part()).unwrap()), Some(&expected));
        }
    }
}
