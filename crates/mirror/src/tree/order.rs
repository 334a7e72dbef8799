//! References before referrers.

use std::collections::HashSet;

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
