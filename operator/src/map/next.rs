//! Whether a new map is due, and with which epoch. Pure.

use granary_placement::{CompiledMap, MapError, MirrorMap};

/// The map to write; `None` when the stored one says all that it should.
///
/// `stored` is the map as stored, if it can be read. `floor` is the highest epoch that anybody is known to have seen: mirrors
/// never go back, so a stored map below it (put back by hand, or from a backup) would not be followed.
pub fn next(
    stored: Option<&MirrorMap>,
    desired: MirrorMap,
    floor: u64,
) -> Result<Option<MirrorMap>, MapError> {
    let in_force = stored.filter(|stored| {
        // The table hash follows from the rest, so it is not computed to find out that nothing has changed.
        stored.epoch >= floor.max(1)
            && stored.table_hash == desired.table_hash
            && stored.mirrors == desired.mirrors
            && stored.policies == desired.policies
            && stored.namespace == desired.namespace
    });
    if in_force.is_some() {
        return Ok(None);
    }
    let mut map = CompiledMap::build(desired)?.map().clone();
    map.epoch = stored.map_or(0, |stored| stored.epoch).max(map.epoch).max(floor).saturating_add(1);
    Ok(Some(map))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::desired::tests::mirror;

    fn map(epoch: u64, mirrors: &[&str]) -> MirrorMap {
        let map = MirrorMap {
            epoch,
            namespace: "ns".into(),
            mirrors: mirrors.iter().map(|name| mirror(name)).collect(),
            policies: vec![],
            table_hash: String::new(),
        };
        let mut built = CompiledMap::build(map).unwrap().map().clone();
        built.epoch = epoch;
        built
    }

    fn epoch(stored: Option<&MirrorMap>, desired: MirrorMap, floor: u64) -> Option<u64> {
        next(stored, desired, floor).unwrap().map(|map| map.epoch)
    }

    #[test]
    fn an_epoch_counts_changes_and_nothing_else() {
        let one = map(4, &["a-0"]);
        assert_eq!(epoch(Some(&one), one.clone(), 4), None);
        assert_eq!(epoch(Some(&one), map(4, &["a-0", "b-0"]), 4), Some(5));
        assert_eq!(epoch(None, map(0, &[]), 0), Some(1));
    }

    #[test]
    fn an_epoch_is_always_above_what_anybody_has_seen() {
        let old = map(4, &["a-0"]);
        assert_eq!(epoch(Some(&old), old.clone(), 9), Some(10), "an old map that was put back");
        assert_eq!(epoch(None, map(6, &["a-0"]), 2), Some(7), "a lost map, recovered from status");
        assert_eq!(epoch(None, map(6, &["a-0"]), 8), Some(9), "a lost map, and a mirror that saw more");
    }

    #[test]
    fn a_written_map_has_the_hash_of_its_own_placement() {
        let written = next(None, map(0, &["a-0"]), 0).unwrap().unwrap();
        assert!(CompiledMap::accept(written.clone()).is_ok());
        // One whose hash was edited is written anew.
        let mut edited = written.clone();
        edited.table_hash = "other".into();
        let desired = MirrorMap { table_hash: written.table_hash.clone(), ..edited.clone() };
        assert!(next(Some(&edited), desired, 0).unwrap().is_some());
    }
}
