//! References before referrers.

use std::collections::HashSet;

use granary_nix::HashPart;

/// The artifacts `all`, each after those of them that it references. Equal input gives equal order. A cycle, which no
/// honest store has, is broken somewhere.
pub(crate) fn references_first<I: IntoIterator<Item = HashPart>>(
    all: &HashSet<HashPart>,
    references: impl Fn(&HashPart) -> I,
) -> Vec<HashPart> {
    let mut starts: Vec<&HashPart> = all.iter().collect();
    starts.sort_unstable();
    let (mut opened, mut order) = (HashSet::new(), Vec::with_capacity(starts.len()));
    for start in starts {
        // Each is pushed once to be opened, and once to be closed after all that it references.
        let mut stack = vec![(*start, false)];
        while let Some((hash, close)) = stack.pop() {
            if close {
                order.push(hash);
            } else if all.contains(&hash) && opened.insert(hash) {
                stack.push((hash, true));
                stack.extend(references(&hash).into_iter().map(|reference| (reference, false)));
            }
        }
    }
    order
}
