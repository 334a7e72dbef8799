//! How far each artifact of a pass is, and which may be published now. Pure.

use std::collections::{BTreeSet, HashMap};

use super::graph::Node;
use crate::compact::{List, Lists};

/// How far an artifact is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Its NAR file is here and verified.
    Whole,
    Publishing,
    Published,
    Refused,
}

/// Artifacts by their places, references before referrers.
#[derive(Debug)]
pub(super) struct Board {
    states: Vec<State>,
    /// The places of what each needs.
    needs: Vec<List>,
    /// The other way round.
    needed_by: Vec<List>,
    /// What these lists are.
    places: Lists,
    whole: BTreeSet<usize>,
}

impl Board {
    /// For artifacts with these hash parts and references. A reference to one that comes later, or is not among them, is not
    /// waited for.
    pub(super) fn new<R: Iterator<Item = Node>>(artifacts: impl Iterator<Item = (Node, R)>) -> Self {
        let mut known: HashMap<Node, u32> = HashMap::new();
        let (mut needs, mut places, mut needed_by) = (Vec::new(), Lists::default(), Vec::new());
        for ((node, references), place) in artifacts.zip(0..) {
            needs.push(places.add(references.filter_map(|node| known.get(&node).copied())));
            known.insert(node, place);
        }
        drop(known);
        let mut pairs: Vec<(u32, u32)> = needs
            .iter()
            .zip(0..)
            .flat_map(|(list, place)| places.get(*list).iter().map(move |need| (*need, place)))
            .collect();
        pairs.sort_unstable();
        let mut pairs = pairs.as_slice();
        for need in (0..).take(needs.len()) {
            let (of_this, rest) = pairs.split_at(pairs.partition_point(|(other, _)| *other == need));
            needed_by.push(places.add(of_this.iter().map(|(_, place)| *place)));
            pairs = rest;
        }
        Self { states: vec![State::Open; needs.len()], needs, needed_by, places, whole: BTreeSet::new() }
    }

    /// Whether nothing has become of it yet.
    pub(super) fn is_open(&self, place: usize) -> bool {
        self.states[place] == State::Open
    }

    /// Its NAR file is here and verified.
    pub(super) fn whole(&mut self, place: usize) {
        self.states[place] = State::Whole;
        self.whole.insert(place);
    }

    /// What can be published together now, `most` of it, references first.
    pub(super) fn batch(&mut self, most: usize) -> Vec<usize> {
        let mut batch = Vec::new();
        for place in &self.whole {
            let may =
                |need: &u32| matches!(self.states[*need as usize], State::Published | State::Publishing);
            if batch.len() < most && self.places.get(self.needs[*place]).iter().all(may) {
                self.states[*place] = State::Publishing;
                batch.push(*place);
            }
        }
        for place in &batch {
            self.whole.remove(place);
        }
        batch
    }

    /// It is published.
    pub(super) fn published(&mut self, place: usize) {
        self.states[place] = State::Published;
    }

    /// It is refused, unless something has been decided about it before, and so is all that needs it, directly or not. Which
    /// these are, beginning with itself.
    pub(super) fn refuse(&mut self, place: usize) -> Vec<usize> {
        let (mut open, mut refused) = (vec![place], Vec::new());
        while let Some(place) = open.pop() {
            if matches!(self.states[place], State::Published | State::Refused) {
                continue;
            }
            self.states[place] = State::Refused;
            self.whole.remove(&place);
            refused.push(place);
            open.extend(self.places.get(self.needed_by[place]).iter().map(|place| *place as usize));
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each word is an artifact and its references.
    fn board(words: &[&str]) -> Board {
        let artifacts = words.iter().map(|word| {
            let mut nodes = word.chars().map(Node::from);
            (nodes.next().unwrap(), nodes)
        });
        Board::new(artifacts)
    }

    #[test]
    fn what_is_whole_waits_for_what_it_needs() {
        let mut board = board(&["a", "bab", "cb", "d", "fx"]);
        for place in [2, 1, 3, 4] {
            board.whole(place);
        }
        assert_eq!(board.batch(9), [3, 4], "b and c need a, which is not here");
        board.whole(0);
        assert_eq!(board.batch(2), [0, 1], "together with what they need");
        assert_eq!(board.batch(9), [2], "what it needs is on its way, in the batch before");
        assert!(board.batch(9).is_empty());
    }

    #[test]
    fn a_refusal_spreads_to_all_that_is_not_published() {
        let mut board = board(&["a", "ba", "cb", "d", "fd", "gcd"]);
        board.whole(1);
        board.published(3);
        let mut refused = board.refuse(0);
        refused.sort_unstable();
        assert_eq!(refused, [0, 1, 2, 5]);
        assert!(board.refuse(0).is_empty() && board.refuse(3).is_empty());
        assert!(board.is_open(4) && !board.is_open(1));
        assert!(board.batch(9).is_empty(), "it was whole and may not come any more");
    }
}
