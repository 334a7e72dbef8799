//! The definition of the placement, written a second time: plainly, slowly, and with floating point.

use std::collections::{BTreeMap, BTreeSet};

use granary_placement::{Mirror, MirrorMap, Partition, Policy, Table};
use proptest::prelude::*;

use super::common;

/// `-log2(u) / weight`.
fn score(context: &str, name: &str, partition: Partition, weight: u64) -> f64 {
    let mut reader = blake3::Hasher::new_derive_key(context).update(name.as_bytes()).finalize_xof();
    reader.set_position(u64::from(partition.number()) * 8);
    let mut draw = [0; 8];
    reader.fill(&mut draw);
    #[expect(clippy::cast_precision_loss, reason = "that is what makes it another computation")]
    let (draw, weight) = ((u64::from_le_bytes(draw) | 1) as f64, weight as f64);
    (64.0 - draw.log2()) / weight
}

fn rank<'a>(map: &'a MirrorMap, policy: &Policy, partition: Partition) -> Vec<&'a str> {
    let selected: Vec<&Mirror> =
        map.mirrors.iter().filter(|mirror| policy.mirrors.contains(&mirror.name)).collect();
    let mut zones: BTreeMap<(bool, &str), Vec<&Mirror>> = BTreeMap::new();
    for mirror in &selected {
        let zone = mirror.zone.as_deref().map_or((true, mirror.name.as_str()), |zone| (false, zone));
        zones.entry(zone).or_default().push(mirror);
    }
    let mut race: Vec<(f64, Vec<&Mirror>)> = zones
        .into_iter()
        .map(|((own, name), mut members)| {
            let context =
                if own { "granary placement 1 mirror without zone" } else { "granary placement 1 zone" };
            let weight = members.iter().map(|mirror| u64::from(mirror.weight)).sum();
            let own = |mirror: &Mirror| {
                score("granary placement 1 mirror", mirror.name.as_str(), partition, mirror.weight.into())
            };
            members.sort_by(|one, other| own(one).total_cmp(&own(other)));
            (score(context, name, partition, weight), members)
        })
        .collect();
    race.sort_by(|one, other| one.0.total_cmp(&other.0));
    let depth = race.iter().map(|(_, members)| members.len()).max().unwrap_or_default();
    let mut rest: Vec<&Mirror> = (0..depth)
        .flat_map(|round| race.iter().filter_map(move |(_, members)| members.get(round).copied()))
        .collect();
    let mut ranking: Vec<&Mirror> = Vec::new();
    while ranking.len() < usize::from(policy.target) && !rest.is_empty() {
        let served = |mirror: &Mirror| {
            let rules = policy.spread.iter().filter(|rule| {
                let key = rule.topology_key;
                let have: BTreeSet<&str> = ranking.iter().filter_map(|mirror| mirror.domain(key)).collect();
                have.len() < rule.min.into()
                    && mirror.domain(key).is_some_and(|domain| !have.contains(domain))
            });
            rules.count()
        };
        let most = rest.iter().map(|mirror| served(mirror)).max().unwrap_or_default();
        let next = rest.iter().position(|mirror| served(mirror) == most).unwrap();
        ranking.push(rest.remove(next));
    }
    ranking.into_iter().map(|mirror| mirror.name.as_str()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn tables_are_what_the_definition_says(
        (mirrors, target, spread) in (common::any_mirrors(), 1_u8..=8)
            .prop_flat_map(|(mirrors, target)| (Just(mirrors), Just(target), common::any_spread(target)))
    ) {
        let map = common::map_of(mirrors, target, &spread);
        let table = Table::compile(&map, &map.policies[0]);
        for partition in Partition::all().step_by(79) {
            let names: Vec<&str> = table.holder_names(partition).map(AsRef::as_ref).collect();
            prop_assert_eq!(names, rank(&map, &map.policies[0], partition), "partition {}", partition);
        }
    }
}

#[test]
fn many_mirrors_too() {
    let mut mirrors = common::grid(20, 5, &[1, 2, 4, 8, 32]);
    for (number, mirror) in mirrors.iter_mut().enumerate() {
        mirror.region = Some(format!("region-{}", number / 50));
        mirror.organization = Some(format!("org-{}", number % 7));
    }
    let rules =
        [(granary_placement::TopologyKey::Region, 2), (granary_placement::TopologyKey::Organization, 3)];
    let map = common::map_of(mirrors, 5, &rules);
    let table = Table::compile(&map, &map.policies[0]);
    for partition in Partition::all().step_by(331) {
        let names: Vec<&str> = table.holder_names(partition).map(AsRef::as_ref).collect();
        assert_eq!(names, rank(&map, &map.policies[0], partition), "partition {partition}");
    }
}
