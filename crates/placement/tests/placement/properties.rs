//! What holds of every placement.

use std::collections::BTreeSet;

use granary_placement::{CompiledMap, Mirror, MirrorMap, Partition, Shortfall, Table, TopologyKey};
use proptest::prelude::*;

use super::common::{any_mirrors, any_spread, grid, map_of, mirror};

fn table(map: &MirrorMap) -> Table {
    Table::compile(map, &map.policies[0])
}

fn names(table: &Table, partition: Partition) -> BTreeSet<&str> {
    table.holder_names(partition).map(AsRef::as_ref).collect()
}

fn domains(map: &MirrorMap, names: &BTreeSet<&str>, key: TopologyKey) -> usize {
    names.iter().filter_map(|name| map.mirror(name)?.domain(key)).collect::<BTreeSet<&str>>().len()
}

fn everything(map: &MirrorMap) -> BTreeSet<&str> {
    map.mirrors.iter().map(|mirror| mirror.name.as_str()).collect()
}

/// Mirrors, target, rules.
fn any_case() -> impl Strategy<Value = (Vec<Mirror>, u8, Vec<(TopologyKey, u8)>)> {
    (any_mirrors(), 1_u8..=8)
        .prop_flat_map(|(mirrors, target)| (Just(mirrors), Just(target), any_spread(target)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn holders_are_distinct_and_as_many_as_can_be((mirrors, target, spread) in any_case()) {
        let map = map_of(mirrors, target, &spread);
        let table = table(&map);
        let copies = usize::from(target).min(map.mirrors.len());
        prop_assert_eq!(table.copies(), copies);
        for partition in Partition::all() {
            prop_assert_eq!(names(&table, partition).len(), copies);
        }
    }

    /// For the same rules, of which no minimum is above the smaller target.
    #[test]
    fn fewer_copies_are_the_first_of_more((mirrors, target, spread) in any_case(), more in 0_u8..8) {
        let more = map_of(mirrors.clone(), (target + more).min(8), &spread);
        let (few, more) = (table(&map_of(mirrors, target, &spread)), table(&more));
        for partition in Partition::all() {
            prop_assert!(more.holders(partition).starts_with(few.holders(partition)));
        }
    }

    /// One rule holds whenever there are as many domains, and all do when the target is at least the sum of the minimums.
    #[test]
    fn spread_holds_where_domains_suffice((mirrors, target, mut spread) in any_case(), only: prop::sample::Index) {
        if spread.iter().map(|(_, min)| min).sum::<u8>() > target {
            spread = vec![*only.get(&spread)];
        }
        let map = map_of(mirrors, target, &spread);
        let table = table(&map);
        for (key, min) in spread {
            let there_are = domains(&map, &everything(&map), key);
            for partition in Partition::all().step_by(7) {
                prop_assert!(domains(&map, &names(&table, partition), key) >= usize::from(min).min(there_are));
            }
        }
    }

    /// Zones within regions within organizations: rules over all three hold together, without a copy more than the largest.
    #[test]
    fn spread_holds_together_where_domains_nest(
        zones in proptest::collection::vec(0_usize..8, 1..14),
        (target, spread) in (1_u8..=8).prop_flat_map(|target| (Just(target), any_spread(target))),
    ) {
        let mirrors = zones.into_iter().enumerate().map(|(number, zone)| Mirror {
            region: Some(format!("region-{}", zone / 2)),
            organization: Some(format!("org-{}", zone / 4)),
            ..mirror(&format!("m-{number}"), Some(&format!("zone-{zone}")), 1)
        });
        let map = map_of(mirrors.collect(), target, &spread);
        let table = table(&map);
        for (key, min) in spread {
            let there_are = domains(&map, &everything(&map), key);
            for partition in Partition::all().step_by(7) {
                prop_assert!(domains(&map, &names(&table, partition), key) >= usize::from(min).min(there_are));
            }
        }
    }

    /// Without a rule too: holders cover as many zones as can be, a mirror without a zone being one of its own.
    #[test]
    fn copies_cover_as_many_zones_as_they_can(mirrors in any_mirrors(), target in 1_u8..=8) {
        let map = map_of(mirrors, target, &[]);
        let table = table(&map);
        let zone = |name: &str| map.mirror(name).and_then(|mirror| mirror.zone.clone()).ok_or(name.to_owned());
        let there_are = everything(&map).into_iter().map(zone).collect::<BTreeSet<_>>().len();
        for partition in Partition::all().step_by(7) {
            let covered = names(&table, partition).into_iter().map(zone).collect::<BTreeSet<_>>().len();
            prop_assert_eq!(covered, table.copies().min(there_are));
        }
    }

    /// Also states, URLs and the like do not matter.
    #[test]
    fn only_what_places_a_mirror_matters((mirrors, target, spread) in any_case(), seed: prop::sample::Index) {
        let map = map_of(mirrors, target, &spread);
        let mut other = map.clone();
        other.mirrors.rotate_left(seed.index(map.mirrors.len()));
        other.mirrors.reverse();
        other.policies[0].mirrors.rotate_right(seed.index(map.mirrors.len()));
        other.policies[0].spread.reverse();
        other.epoch = 12;
        for mirror in &mut other.mirrors {
            mirror.state = granary_placement::MirrorState::Unreachable;
            mirror.url = None;
            mirror.disk = Some("other".to_owned());
            mirror.node = Some("other".to_owned());
            mirror.internal_url.push_str("/other");
        }
        prop_assert_eq!(table(&map).hash(), table(&other).hash());
        prop_assert_eq!(table(&map), table(&other));
    }

    /// What moves when a mirror goes and only zones spread the copies: nothing where its zone holds nothing, and elsewhere at
    /// most one copy. Its zone weighs less without it, so that the zone may also give up copies of its other mirrors; they
    /// stay where they are when the mirror was alone in its zone.
    #[test]
    fn a_mirror_that_goes_moves_one_copy_at_most(mirrors in any_mirrors(), target in 1_u8..=5, gone: prop::sample::Index) {
        let before = map_of(mirrors.clone(), target, &[]);
        let gone = gone.get(&mirrors).clone();
        let zone_mates: BTreeSet<&str> = mirrors
            .iter()
            .filter(|mirror| mirror.name == gone.name || gone.zone.is_some() && mirror.zone == gone.zone)
            .map(|mirror| mirror.name.as_str())
            .collect();
        let zones = mirrors.iter().map(|mirror| mirror.zone.clone().ok_or(&mirror.name)).collect::<BTreeSet<_>>().len();
        prop_assume!(zones > usize::from(target));
        let rest = mirrors.iter().filter(|mirror| mirror.name != gone.name).cloned().collect();
        let after = map_of(rest, target, &[]);
        let (before, after) = (table(&before), table(&after));
        for partition in Partition::all() {
            let (was, is) = (names(&before, partition), names(&after, partition));
            let moved = was.difference(&is).count();
            prop_assert!(moved <= 1, "{was:?} {is:?}");
            prop_assert!(moved == 0 || !was.is_disjoint(&zone_mates), "{was:?} {is:?}");
            if zone_mates.len() == 1 {
                prop_assert_eq!(moved == 1, was.contains(gone.name.as_str()));
            }
        }
    }

    /// What is lacking is what the tables lack, and every reason is given only when it is one.
    #[test]
    fn shortfalls_are_exactly_what_is_lacking((mirrors, target, spread) in any_case()) {
        let compiled = CompiledMap::build(map_of(mirrors, target, &spread)).unwrap();
        let (map, table) = (compiled.map(), compiled.table("all").unwrap());
        let shortfalls = compiled.shortfalls("all");
        let few = Shortfall::TargetAboveMirrors { target, mirrors: map.mirrors.len() };
        prop_assert_eq!(shortfalls.contains(&few), table.copies() < usize::from(target));
        for (key, min) in spread {
            let named = shortfalls.iter().any(|shortfall| match shortfall {
                Shortfall::SpreadAboveDomains { key: of, .. } | Shortfall::SpreadMissed { key: of, .. } => *of == key,
                Shortfall::NoMirrors | Shortfall::TargetAboveMirrors { .. } => false,
            });
            let lacking = Partition::all().any(|partition| domains(map, &names(table, partition), key) < usize::from(min));
            prop_assert_eq!(named, lacking);
        }
    }

    #[test]
    fn a_written_map_is_accepted_and_equal((mirrors, target, spread) in any_case()) {
        let built = CompiledMap::build(map_of(mirrors, target, &spread)).unwrap();
        prop_assert_eq!(CompiledMap::read(&built.map().to_json()).unwrap(), built);
    }
}

/// Each mirror's copies are within five standard deviations of its share.
fn assert_shares(table: &Table, share: impl Fn(&str) -> f64) {
    let mut copies = vec![0.0; table.mirrors().len()];
    for partition in Partition::all() {
        for holder in table.holders(partition) {
            copies[usize::from(*holder)] += 1.0;
        }
    }
    for (name, copies) in table.mirrors().iter().zip(copies) {
        let expected = share(name.as_str()) * 32_768.0;
        assert!((copies - expected).abs() < 5.0 * expected.sqrt(), "{name}: {copies} of {expected}");
    }
}

#[test]
fn in_equal_zones_copies_follow_weights() {
    let map = map_of(grid(5, 4, &[1, 2, 3, 10]), 3, &[]);
    assert_shares(&table(&map), |name| 3.0 / 5.0 * f64::from(map.mirror(name).unwrap().weight) / 16.0);
}

#[test]
fn first_copies_follow_weights_in_any_zones() {
    let mut mirrors = grid(3, 4, &[1000, 1, 30, 400]);
    mirrors.truncate(7);
    mirrors.push(mirror("alone", None, 77));
    let total: u32 = mirrors.iter().map(|mirror| mirror.weight).sum();
    let map = map_of(mirrors, 1, &[]);
    assert_shares(&table(&map), |name| f64::from(map.mirror(name).unwrap().weight) / f64::from(total));
}

/// The worst weights that there can be neither overflow nor lose their proportion.
#[test]
fn extreme_weights_keep_their_proportion() {
    let mut mirrors = grid(1, 999, &[u32::MAX]);
    mirrors.push(mirror("light", Some("zone-0"), 1));
    let table = table(&map_of(mirrors, 1, &[]));
    assert_shares(&table, |name| if name == "light" { 1e-12 } else { 1.0 / 999.0 });
}

/// The share of copies that move when a mirror of 100 in 20 zones goes stays below twice the share that it held.
#[test]
fn a_mirror_that_goes_moves_less_than_twice_what_it_held() {
    let mirrors = grid(20, 5, &[8]);
    let before = table(&map_of(mirrors.clone(), 3, &[]));
    let after = table(&map_of(mirrors[1..].to_vec(), 3, &[]));
    let gone = mirrors[0].name.as_str();
    let (mut held, mut moved) = (0, 0);
    for partition in Partition::all() {
        let (was, is) = (names(&before, partition), names(&after, partition));
        held += usize::from(was.contains(gone));
        moved += was.difference(&is).count();
    }
    println!("held {held}, moved {moved} of {}", 3 * 32_768);
    assert!(held > 0 && moved >= held && moved < 2 * held, "held {held}, moved {moved}");
}
