//! References before referrers, and the order of hash parts.

use std::collections::{BTreeSet, HashSet};

use granary_nix::HashPart;

/// The artifacts `all`, each after those of them that it references. Equal input gives equal order. A cycle, which no
/// honest store has, is broken somewhere.
pub(crate) fn references_first<I: IntoIterator<Item = HashPart>>(
    all: &HashSet<HashPart>,
    references: impl Fn(&HashPart) -> I,
) -> Vec<HashPart> {
    let mut starts: Vec<HashPart> = all.iter().copied().collect();
    starts.sort_unstable();
    let mut opened = HashSet::new();
    let opens = |hash: HashPart| all.contains(&hash) && opened.insert(hash);
    order(starts, opens, |hash, stack| stack.extend(references(&hash).into_iter().map(|hash| (hash, false))))
}

/// The same for anything that is named in few bytes. `opens`: whether it is one of those to be put in order, when that is asked
/// for the first time. `references` adds what one references, not to be closed yet.
pub(crate) fn order<T: Copy>(
    starts: Vec<T>,
    mut opens: impl FnMut(T) -> bool,
    references: impl Fn(T, &mut Vec<(T, bool)>),
) -> Vec<T> {
    let mut order = Vec::with_capacity(starts.len());
    let mut stack = Vec::new();
    for start in starts {
        // Each is pushed once to be opened, and once to be closed after all that it references.
        stack.push((start, false));
        while let Some((one, close)) = stack.pop() {
            if close {
                order.push(one);
            } else if opens(one) {
                stack.push((one, true));
                references(one, &mut stack);
            }
        }
    }
    order
}

/// The first of these after `after`, in the order of their hash parts, each once; at most `count`. There may be a million: they
/// are not copied.
pub(super) fn next_after(
    after: Option<&HashPart>,
    count: usize,
    hashes: impl Iterator<Item = HashPart>,
) -> Vec<HashPart> {
    let mut first = BTreeSet::new();
    for hash in hashes.filter(|hash| after.is_none_or(|after| hash > after)) {
        if first.len() < count {
            first.insert(hash);
        } else if first.last().is_some_and(|last| hash < *last) && first.insert(hash) {
            first.pop_last();
        }
    }
    first.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_after_one_are_found_in_any_order_and_each_once() {
        let hash = |number: usize| format!("{number:0>32}").parse::<HashPart>().unwrap();
        let next = |after: Option<usize>, count| {
            let all = [7, 2, 9, 4, 7, 1, 4, 2].into_iter().map(hash);
            next_after(after.map(hash).as_ref(), count, all)
        };
        let of = |numbers: &[usize]| numbers.iter().copied().map(hash).collect::<Vec<_>>();
        assert_eq!(next(None, 3), of(&[1, 2, 4]));
        assert_eq!(next(Some(1), 2), of(&[2, 4]));
        assert_eq!(next(Some(3), 9), of(&[4, 7, 9]));
        assert_eq!((next(Some(9), 1), next(None, 0)), (vec![], vec![]));
    }
}
