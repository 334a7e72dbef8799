//! What a closure means for this mirror: which artifacts each policy wants, in which order they can be published, and what
//! cannot be had because something that it needs cannot. Pure.

use std::collections::{HashMap, HashSet};

use granary_fetch::Fault;
use granary_nix::{HashPart, StorePath};
use granary_placement::report::RefusalReason;

use super::obtain::Problem;
use super::resolve::Closure;
use crate::tree::references_first;

/// Why an artifact cannot be had: the path that is to blame, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blame {
    pub(super) culprit: StorePath,
    pub(super) reason: RefusalReason,
}

/// The paths that are reached from `roots`, found or lost, sorted.
pub(super) fn members<'r>(closure: &Closure, roots: impl Iterator<Item = &'r StorePath>) -> Vec<HashPart> {
    let mut open: Vec<HashPart> = roots.map(StorePath::hash_part).collect();
    let mut seen: HashSet<HashPart> = open.iter().copied().collect();
    while let Some(hash) = open.pop() {
        for reference in closure.found.get(&hash).iter().flat_map(|found| &found.info.references) {
            if seen.insert(reference.hash_part()) {
                open.push(reference.hash_part());
            }
        }
    }
    let mut members: Vec<HashPart> = seen.into_iter().collect();
    members.sort_unstable();
    members
}

/// The found artifacts, references before referrers.
pub(super) fn order(closure: &Closure) -> Vec<HashPart> {
    references_first(&closure.found.keys().copied().collect(), |hash| {
        closure
            .found
            .get(hash)
            .into_iter()
            .flat_map(|found| found.info.references.iter().map(StorePath::hash_part))
    })
}

/// The found artifacts that need, directly or not, one that is lost or that comes later in `order` than they do.
pub(super) fn blame(closure: &Closure, order: &[HashPart]) -> HashMap<HashPart, Blame> {
    let mut blamed: HashMap<HashPart, Blame> = HashMap::new();
    let mut passed: HashSet<HashPart> = HashSet::new();
    for hash in order {
        let Some(found) = closure.found.get(hash) else { continue };
        let needed = found.info.references.iter().filter(|reference| **reference != found.info.store_path);
        let blame =
            needed.map(|reference| (reference, reference.hash_part())).find_map(|(reference, needed)| {
                let lost = closure.lost.get(&needed).map(|(path, problem)| (path, problem.fault.reason));
                // Another path with the same hash part is not the path that is needed.
                let other = || closure.found.get(&needed).filter(|found| found.info.store_path != *reference);
                let cycle = || !passed.contains(&needed);
                match lost {
                    Some((culprit, reason)) => Some(Blame { culprit: culprit.clone(), reason }),
                    None if other().is_some() => {
                        Some(Blame { culprit: reference.clone(), reason: RefusalReason::WrongPath })
                    }
                    None if cycle() => {
                        Some(Blame { culprit: reference.clone(), reason: RefusalReason::MissingReference })
                    }
                    None => blamed.get(&needed).cloned(),
                }
            });
        passed.insert(*hash);
        blamed.extend(blame.map(|blame| (*hash, blame)));
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
    use std::sync::Arc;

    use super::*;
    use crate::sync::obtain::Found;

    fn path(name: char) -> StorePath {
        StorePath::parse_base_name(&format!("{}-{name}", name.to_string().repeat(32))).unwrap()
    }

    /// Each word is an artifact and its references; a word of the second list is lost.
    fn closure(found: &[&str], lost: &str) -> Closure {
        let mut closure = Closure::default();
        for word in found {
            let name = word.chars().next().unwrap();
            let references: Vec<_> =
                word.chars().skip(1).map(|name| path(name).base_name().to_owned()).collect();
            let text = format!(
                "StorePath: {}\nURL: x\nNarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\n\
                 NarSize: 9\nReferences: {}\n",
                path(name),
                references.join(" ")
            );
            let found = Found { info: Arc::new(text.parse().unwrap()), origin: None };
            closure.found.insert(path(name).hash_part(), found);
        }
        for name in lost.chars() {
            let problem = Problem::new(Fault::new(RefusalReason::NotFound, ""), String::new());
            closure.lost.insert(path(name).hash_part(), (path(name), problem));
        }
        closure
    }

    fn names(hashes: &[HashPart]) -> String {
        hashes.iter().map(|hash| &hash.as_str()[..1]).collect()
    }

    #[test]
    fn references_come_before_referrers() {
        let closure = closure(&["abc", "bd", "cd", "dd", "f"], "");
        assert_eq!(names(&order(&closure)), "dcbaf");
        assert!(blame(&closure, &order(&closure)).is_empty());
        assert_eq!(names(&members(&closure, [path('b')].iter())), "bd");
        assert_eq!(names(&members(&closure, [path('f'), path('c')].iter())), "cdf");
    }

    #[test]
    fn whatever_needs_a_lost_path_names_it() {
        let closure = closure(&["ab", "bx", "c", "dac"], "x");
        let blamed = blame(&closure, &order(&closure));
        let mut who: Vec<HashPart> = blamed.keys().copied().collect();
        who.sort_unstable();
        assert_eq!(names(&who), "abd");
        let expected = Blame { culprit: path('x'), reason: RefusalReason::NotFound };
        assert!(blamed.values().all(|blame| *blame == expected));
        assert_eq!(names(&members(&closure, [path('a')].iter())), "abx", "the lost path is wanted too");
    }

    #[test]
    fn a_cycle_is_refused_and_ends() {
        let closure = closure(&["ab", "ba", "ca", "d"], "");
        let order = order(&closure);
        assert_eq!(order.len(), 4);
        let blamed = blame(&closure, &order);
        assert!(blamed.contains_key(&path('c').hash_part()) && !blamed.contains_key(&path('d').hash_part()));
    }
}
