//! What the Mirrors entries of any mirror of any map name.

use std::collections::BTreeSet;

use granary_placement::{CompiledMap, MirrorMap, MirrorState, Partition, Policy};
use proptest::prelude::*;

use super::common::{any_mirrors, map_of, mirror};

/// Mirrors in any state, with and without URL, and one to four policies over some of them.
fn any_map() -> impl Strategy<Value = MirrorMap> {
    let state = prop::sample::select(vec![
        MirrorState::Serving,
        MirrorState::Serving,
        MirrorState::Joining,
        MirrorState::Unreachable,
    ]);
    let states = proptest::collection::vec((state, proptest::bool::weighted(0.8)), 14);
    let policies = proptest::collection::vec((proptest::collection::vec(any::<bool>(), 14), 1_u8..=8), 1..5);
    (any_mirrors(), states, policies).prop_map(|(mirrors, states, policies)| {
        let mut map = map_of(mirrors, 1, &[]);
        for (mirror, (state, public)) in map.mirrors.iter_mut().zip(states) {
            mirror.state = state;
            mirror.url = mirror.url.take().filter(|_| public);
        }
        let policies = policies.into_iter().enumerate().map(|(number, (selected, target))| Policy {
            name: format!("policy-{number}"),
            mirrors: map
                .mirrors
                .iter()
                .zip(selected)
                .filter_map(|(mirror, yes)| yes.then_some(mirror.name.clone()))
                .collect(),
            target,
            spread: Vec::new(),
            store_paths: Vec::new(),
            channels: Vec::new(),
            retention: None,
        });
        map.policies = policies.collect();
        map
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Exactly the other holders under every policy that selects the mirror, that serve and have a URL.
    #[test]
    fn entries_name_exactly_the_published_holders(map in any_map(), whose: prop::sample::Index) {
        let compiled = CompiledMap::build(map).unwrap();
        let mirror = whose.get(&compiled.map().mirrors);
        let entries = compiled.entries_for(&mirror.name);
        let tables: Vec<_> = compiled.policies_of(&mirror.name).map(|(_, table)| table).collect();
        for partition in Partition::all().step_by(5) {
            let listed: Vec<&str> = entries.urls(partition).collect();
            let right = |other: &&granary_placement::Mirror| {
                other.name != mirror.name
                    && other.state == MirrorState::Serving
                    && !tables.is_empty()
                    && tables.iter().all(|table| table.holds(other.name.as_str(), partition))
            };
            let expected: BTreeSet<&str> =
                compiled.map().mirrors.iter().filter(right).filter_map(|other| other.url.as_deref()).collect();
            prop_assert_eq!(listed.len(), expected.len());
            prop_assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), expected);
            // In the order of the first policy.
            if let Some(table) = tables.first() {
                let url = |name: &granary_placement::MirrorName| compiled.map().mirror(name.as_str())?.url.as_deref();
                let ranked: Vec<&str> =
                    table.holder_names(partition).filter_map(url).filter(|url| listed.contains(url)).collect();
                prop_assert_eq!(&listed, &ranked);
            }
            let same: Vec<&str> = entries.list(entries.list_number(partition)).collect();
            prop_assert_eq!(listed, same);
        }
    }

    /// Every list is some partition's, and no two are equal.
    #[test]
    fn equal_lists_are_kept_once(map in any_map(), whose: prop::sample::Index) {
        let compiled = CompiledMap::build(map).unwrap();
        let entries = compiled.entries_for(&whose.get(&compiled.map().mirrors).name);
        let used: BTreeSet<u16> = Partition::all().map(|partition| entries.list_number(partition)).collect();
        prop_assert_eq!(used.len(), entries.lists());
        let different: BTreeSet<Vec<&str>> = used.iter().map(|number| entries.list(*number).collect()).collect();
        prop_assert_eq!(different.len(), entries.lists());
    }
}

#[test]
fn three_mirrors_with_two_copies_name_the_other_holders() {
    let mirrors = ["a-0", "b-0", "c-0"].map(|name| mirror(name, Some(name), 1)).to_vec();
    let compiled = CompiledMap::build(map_of(mirrors, 2, &[])).unwrap();
    let table = compiled.table("all").unwrap();
    let me = "a-0".parse().unwrap();
    let entries = compiled.entries_for(&me);
    for partition in Partition::all() {
        // One other where it holds the artifact itself, and both where it does not.
        let others = if table.holds("a-0", partition) { 1 } else { 2 };
        assert_eq!(entries.urls(partition).len(), others);
    }
    // b; c; b c; c b.
    assert_eq!(entries.lists(), 4);
    assert_eq!(entries.list(4).len(), 0);
}

#[test]
fn a_mirror_that_no_policy_selects_has_no_entries() {
    let mut map = map_of(vec![mirror("a-0", None, 1), mirror("b-0", None, 1)], 2, &[]);
    map.policies[0].mirrors.truncate(1);
    let compiled = CompiledMap::build(map).unwrap();
    let entries = compiled.entries_for(&"b-0".parse().unwrap());
    assert!(Partition::all().all(|partition| entries.urls(partition).len() == 0));
    assert_eq!(entries.lists(), 1);
}
