//! Which store paths refer to which, by verified narinfos: of a million artifacts, in the memory that a few thousand narinfos
//! would take.

use std::collections::HashMap;

use granary_nix::{HashPart, NarInfo, StorePath};

use crate::compact::{List, Lists, Parts, Place};
use crate::tree::Signed;

/// A store path, by a number.
pub(super) type Id = Place;

/// A hash part, by the number of the first store path that was seen with it. A pass asks for one path of each.
pub(super) type Node = Id;

/// Bit of the numbers of paths whose hash parts stood for others already.
const OTHER: Id = 1 << 31;

/// Store paths, and what those refer to whose narinfos are known. About 100 bytes for an artifact with five references.
#[derive(Debug, Default)]
pub(super) struct Graph {
    paths: Parts<Path>,
    /// The names of the paths, one after the other.
    names: Vec<u8>,
    references: Lists,
    /// Paths with the hash part of another one. No honest store has any.
    others: Vec<Other>,
    other_ids: HashMap<StorePath, Id>,
}

#[derive(Debug)]
struct Path {
    /// Where its name is.
    name: u32,
    length: u8,
    known: bool,
    signed: Signed,
    references: List,
}

#[derive(Debug)]
struct Other {
    path: StorePath,
    first: Node,
    known: Option<(Signed, List)>,
}

impl Graph {
    /// The number of a path, which gets one.
    pub(super) fn id(&mut self, path: &StorePath) -> Id {
        let Self { paths, names, .. } = self;
        let hash = path.hash_part();
        let node = paths.place_or(&hash, || {
            let (start, name) = (names.len(), path.name().as_bytes());
            names.extend_from_slice(name);
            Path {
                name: u32::try_from(start).unwrap_or(u32::MAX),
                // Names are shorter than 212 bytes.
                length: u8::try_from(name.len()).unwrap_or(u8::MAX),
                known: false,
                signed: Signed::default(),
                references: List::default(),
            }
        });
        if self.name(node) == path.name().as_bytes() {
            return node;
        }
        let others = &mut self.others;
        *self.other_ids.entry(path.clone()).or_insert_with(|| {
            others.push(Other { path: path.clone(), first: node, known: None });
            OTHER | u32::try_from(others.len() - 1).unwrap_or(u32::MAX)
        })
    }

    fn other(&self, id: Id) -> Option<&Other> {
        self.others.get((id & !OTHER) as usize).filter(|_| id & OTHER == OTHER)
    }

    fn name(&self, node: Node) -> &[u8] {
        let name = |Path { name, length, .. }: &Path| *name as usize..*name as usize + usize::from(*length);
        self.paths.at(node).map(name).and_then(|name| self.names.get(name)).unwrap_or_default()
    }

    /// The number of its hash part.
    pub(super) fn node(&self, id: Id) -> Node {
        self.other(id).map_or(id, |other| other.first)
    }

    /// The number of a hash part, if a path with it was seen.
    pub(super) fn node_of(&self, hash: &HashPart) -> Option<Node> {
        self.paths.place(hash)
    }

    pub(super) fn hash(&self, node: Node) -> HashPart {
        self.paths.hash_at(node)
    }

    /// The path with this number; `None` when there is none.
    pub(super) fn path(&self, id: Id) -> Option<StorePath> {
        if let Some(other) = self.other(id) {
            return Some(other.path.clone());
        }
        let name = str::from_utf8(self.name(id)).ok()?;
        StorePath::parse_base_name(&format!("{}-{name}", self.hash(id))).ok()
    }

    fn known(&self, id: Id) -> Option<(Signed, List)> {
        match self.other(id) {
            Some(other) => other.known,
            None => self.paths.at(id).filter(|path| path.known).map(|path| (path.signed, path.references)),
        }
    }

    /// What the path refers to, if its narinfo is known.
    pub(super) fn references(&self, id: Id) -> Option<&[Id]> {
        self.known(id).map(|(_, references)| self.references.get(references))
    }

    /// What is signed in its narinfo, if that is known.
    pub(super) fn signed(&self, id: Id) -> Option<Signed> {
        self.known(id).map(|(signed, _)| signed)
    }

    /// This is the path's narinfo.
    pub(super) fn learn(&mut self, id: Id, info: &NarInfo) {
        let now = Signed::of(info);
        match self.known(id) {
            Some((signed, _)) if signed == now => return,
            Some((_, before)) => self.references.remove(before),
            None => {}
        }
        let ids: Vec<Id> = info.references.iter().map(|reference| self.id(reference)).collect();
        let list = self.references.add(ids);
        self.know(id, now, list);
    }

    fn know(&mut self, id: Id, signed: Signed, references: List) {
        if id & OTHER == OTHER {
            if let Some(other) = self.others.get_mut((id & !OTHER) as usize) {
                other.known = Some((signed, references));
            }
        } else if let Some(path) = self.paths.at_mut(id) {
            (path.known, path.signed, path.references) = (true, signed, references);
        }
    }

    /// Hash parts that were seen. Each [`Node`] is smaller.
    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    /// Bytes that it has allocated, apart from what no honest store has.
    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.paths.bytes() + self.names.capacity() + self.references.bytes()
    }

    /// Forgets what is not wanted, if that is much.
    pub(super) fn keep(&mut self, wanted: impl Fn(&HashPart) -> bool) {
        let spare = self.paths.hashes().filter(|hash| !wanted(hash)).count() + self.others.len();
        if spare <= 1024 + self.len() / 4 && !self.references.is_sparse() {
            return;
        }
        let mut kept = Self::default();
        let nodes = (0..).take(self.len());
        let others = (0..).take(self.others.len()).map(|number| OTHER | number);
        for id in nodes.chain(others).filter(|id| wanted(&self.hash(self.node(*id)))) {
            let (Some(path), Some((signed, references))) = (self.path(id), self.known(id)) else { continue };
            let ids = self.references.get(references).iter();
            let ids: Vec<Id> = ids.filter_map(|id| Some(kept.id(&self.path(*id)?))).collect();
            let (list, id) = (kept.references.add(ids), kept.id(&path));
            kept.know(id, signed, list);
        }
        *self = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::HashParts;

    fn path(part: char, name: &str) -> StorePath {
        StorePath::parse_base_name(&format!("{}-{name}", part.to_string().repeat(32))).unwrap()
    }

    fn info(path: &StorePath, references: &[&StorePath]) -> NarInfo {
        let references: Vec<&str> = references.iter().map(|path| path.base_name()).collect();
        let text = format!(
            "StorePath: {path}\nURL: x\nNarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n\
             NarSize: 9\nReferences: {}\n",
            references.join(" ")
        );
        text.parse().unwrap()
    }

    fn references(graph: &Graph, id: Id) -> Option<Vec<StorePath>> {
        graph.references(id).map(|ids| ids.iter().map(|id| graph.path(*id).unwrap()).collect())
    }

    #[test]
    fn paths_come_back_as_they_went_in_whoever_has_their_hash_part() {
        let mut graph = Graph::default();
        let all =
            [path('a', "one"), path('b', "one"), path('a', "two"), path('a', "one-2"), path('a', "three")];
        let ids = all.each_ref().map(|path| graph.id(path));
        assert_eq!(all.each_ref().map(|path| graph.id(path)), ids);
        assert_eq!(ids.map(|id| graph.path(id).unwrap()), all);
        assert_eq!(ids.map(|id| graph.node(id)), [0, 1, 0, 0, 0]);
        assert_eq!((graph.len(), graph.node_of(&all[2].hash_part()), graph.path(9)), (2, Some(0), None));
        assert_eq!(graph.hash(0), all[0].hash_part());

        graph.learn(ids[0], &info(&all[0], &[&all[1], &all[2]]));
        assert_eq!(references(&graph, ids[0]).unwrap(), [all[2].clone(), all[1].clone()]);
        assert_eq!((references(&graph, ids[2]), graph.signed(ids[1])), (None, None));
        graph.learn(ids[2], &info(&all[2], &[&all[3]]));
        assert_eq!(references(&graph, ids[2]).unwrap(), [all[3].clone()]);
        let before = graph.signed(ids[0]);
        graph.learn(ids[0], &info(&all[0], &[]));
        assert_eq!(references(&graph, ids[0]).unwrap(), []);
        assert_ne!(graph.signed(ids[0]), before);
    }

    #[test]
    fn what_nobody_wants_is_forgotten_when_it_is_much() {
        let mut graph = Graph::default();
        let all: Vec<StorePath> = (0..4000_u32)
            .map(|number| {
                let hash = granary_nix::Hash::of(&number.to_le_bytes()).to_nix32();
                StorePath::parse_base_name(&format!("{}-{number}", &hash[..32])).unwrap()
            })
            .collect();
        for pair in all.windows(2) {
            let id = graph.id(&pair[0]);
            graph.learn(id, &info(&pair[0], &[&pair[1]]));
        }
        let first = |most: usize| all[..most].iter().map(StorePath::hash_part).collect::<HashParts>();
        let (many, few) = (first(3000), first(100));
        assert!(size_of::<Option<Path>>() <= 24 && graph.bytes() / 4000 < 110, "{}", graph.bytes());
        graph.keep(|hash| many.contains(hash));
        assert_eq!(graph.len(), 4000, "not much");
        graph.keep(|hash| few.contains(hash));
        assert_eq!(graph.len(), 101, "what they refer to is named, too");
        for pair in all[..101].windows(2) {
            let id = graph.id(&pair[0]);
            assert_eq!(references(&graph, id).unwrap(), pair[1..]);
            assert_eq!(graph.signed(id), Some(Signed::of(&info(&pair[0], &[&pair[1]]))));
        }
        assert_eq!(graph.len(), 101);
    }
}
