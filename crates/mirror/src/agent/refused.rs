//! The refusals that a report tells of: those of the passes, and those of what clients asked for and pushed. Pure.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Instant;

use granary_placement::report::{MAX_REFUSED, Refusal};

use crate::refusals::Standing;

/// A refusal of the passes, and when it came up; `None`: not by a pass that was watched.
pub(super) type Told<'r> = (Option<Instant>, &'r Refusal);

/// The newest of all, newest first, and how many artifacts there are. Both lists are newest first; what is on both counts
/// as the passes say. `count`: how many those of the passes are, if not all are listed.
pub(super) fn newest(passes: &[Told<'_>], count: u64, clients: &[Standing]) -> (Vec<Refusal>, u64) {
    let clients = beside(passes, clients);
    let all = count + clients.len() as u64;
    let passes = passes.iter().take(MAX_REFUSED).copied();
    let clients = clients.into_iter().take(MAX_REFUSED).map(|one| (Some(one.at), &one.refusal));
    let mut newest: Vec<_> = passes.chain(clients).collect();
    newest.sort_by_key(|(at, _)| Reverse(*at));
    newest.truncate(MAX_REFUSED);
    (newest.into_iter().map(|(_, refusal)| refusal.clone()).collect(), all)
}

/// Those of the clients that the passes do not have.
fn beside<'c>(passes: &[Told<'_>], clients: &'c [Standing]) -> Vec<&'c Standing> {
    let theirs: HashSet<&str> = clients.iter().map(|one| one.hash.as_str()).collect();
    let hash = |refusal: &Refusal| {
        let (_, name) = refusal.store_path.rsplit_once('/')?;
        theirs.get(name.split_once('-')?.0).copied().map(str::to_owned)
    };
    let both: HashSet<String> = if theirs.is_empty() {
        HashSet::new()
    } else {
        passes.iter().filter_map(|(_, refusal)| hash(refusal)).collect()
    };
    clients.iter().filter(|one| !both.contains(one.hash.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use granary_nix::HashPart;
    use granary_placement::report::RefusalReason;

    use super::*;
    use crate::refusals::Bad;

    fn refusal(store_path: String) -> Refusal {
        let (reason, message, source) = (RefusalReason::NarHash, String::new(), String::new());
        Refusal { store_path, reason, message, source }
    }

    fn client(name: char, at: Instant) -> Standing {
        let hash: HashPart = name.to_string().repeat(32).parse().unwrap();
        Standing { hash, bad: Bad::Nar, refusal: refusal(hash.to_string()), at }
    }

    fn pass(name: char, at: Option<Instant>) -> (Option<Instant>, Refusal) {
        (at, refusal(format!("/nix/store/{}-x", name.to_string().repeat(32))))
    }

    fn names(passes: &[(Option<Instant>, Refusal)], clients: &[Standing]) -> (String, u64) {
        let passes: Vec<Told> = passes.iter().map(|(at, refusal)| (*at, refusal)).collect();
        let (newest, all) = newest(&passes, passes.len() as u64, clients);
        let name = |refusal: &Refusal| refusal.store_path.trim_start_matches("/nix/store/").chars().next();
        (newest.iter().filter_map(name).collect(), all)
    }

    #[test]
    fn the_newest_are_told_whoever_met_them_and_each_once() {
        let now = Instant::now();
        let at = |second| now + Duration::from_secs(second);
        let passes = [pass('a', Some(at(9))), pass('b', Some(at(3))), pass('c', None)];
        let clients = [client('d', at(10)), client('b', at(8)), client('f', at(5))];
        assert_eq!(names(&passes, &clients), ("dafbc".into(), 5));
        assert_eq!(names(&[], &clients), ("dbf".into(), 3));
        assert_eq!(names(&passes, &[]), ("abc".into(), 3));
    }

    #[test]
    fn neither_list_pushes_the_others_newest_out() {
        let now = Instant::now();
        let passes = vec![pass('a', Some(now)); 3 * MAX_REFUSED];
        let (newest, all) = names(&passes, &[client('b', now + Duration::from_secs(1))]);
        assert_eq!((newest.len(), all), (MAX_REFUSED, 3 * MAX_REFUSED as u64 + 1));
        assert!(newest.starts_with('b'));
    }
}
