//! Why a policy cannot hold in full, in words that say what to do. The placement is then the best there is.

use std::collections::BTreeSet;

use crate::{
    map::{Mirror, MirrorMap, Policy, Spread, TopologyKey},
    partition::{PARTITIONS, Partition},
    table::Table,
};

/// One reason why a policy cannot hold in full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Shortfall {
    /// No mirror is selected.
    #[error(
        "no mirror is selected, so nothing is copied: label a CacheMirror so that spec.mirrors selects it"
    )]
    NoMirrors,
    /// More copies are wanted than there are mirrors.
    #[error(
        "{target} copies are wanted but only {mirrors} {} selected, so every one of them holds everything: \
         add {} more or lower spec.copies.target",
        if *mirrors == 1 { "mirror is" } else { "mirrors are" },
        usize::from(*target).saturating_sub(*mirrors)
    )]
    TargetAboveMirrors {
        /// The policy's target.
        target: u8,
        /// How many mirrors it selects.
        mirrors: usize,
    },
    /// A rule wants more domains than there are.
    #[error(
        "copies in {min} different values of {} are wanted but the selected mirrors have only {domains}{}: \
         {} or lower the rule's min",
        key.as_str(),
        without(*unlabelled),
        if *unlabelled == 0 { "add mirrors elsewhere" } else { "set the field on these, add mirrors elsewhere" }
    )]
    SpreadAboveDomains {
        /// The kind of domain.
        key: TopologyKey,
        /// How many the rule wants.
        min: u8,
        /// How many there are.
        domains: usize,
        /// How many selected mirrors have no value for the key, and so prove nothing.
        unlabelled: usize,
    },
    /// There are enough domains for each rule alone, but the rules together need more copies.
    #[error(
        "the spread rules together leave {partitions} of 32768 partitions with copies in fewer than {min} different values of \
         {}: raise spec.copies.target or add mirrors that differ in all of the rules' keys",
        key.as_str()
    )]
    SpreadMissed {
        /// The kind of domain.
        key: TopologyKey,
        /// How many the rule wants.
        min: u8,
        /// In how many partitions there are fewer.
        partitions: usize,
    },
}

fn without(unlabelled: usize) -> String {
    match unlabelled {
        0 => String::new(),
        1 => " (1 mirror has none)".to_owned(),
        many => format!(" ({many} mirrors have none)"),
    }
}

/// What the selected mirrors alone make impossible.
#[must_use]
pub fn of_mirrors(map: &MirrorMap, policy: &Policy) -> Vec<Shortfall> {
    let selected = selected(map, policy);
    if selected.is_empty() {
        return vec![Shortfall::NoMirrors];
    }
    let (target, mirrors) = (policy.target, selected.len());
    let few = (usize::from(target) > mirrors).then_some(Shortfall::TargetAboveMirrors { target, mirrors });
    let narrow = policy.spread.iter().filter_map(|Spread { topology_key: key, min }| {
        let (key, min, domains) = (*key, *min, domains(selected.iter().copied(), *key));
        let unlabelled = selected.iter().filter(|mirror| mirror.domain(key).is_none()).count();
        (domains < usize::from(min)).then_some(Shortfall::SpreadAboveDomains {
            key,
            min,
            domains,
            unlabelled,
        })
    });
    few.into_iter().chain(narrow).collect()
}

/// What the mirrors make impossible, and what the placement then still lacks.
pub(crate) fn of_table(map: &MirrorMap, policy: &Policy, table: &Table) -> Vec<Shortfall> {
    let mut shortfalls = of_mirrors(map, policy);
    // With too few mirrors all of them hold everything, and what is lacking has been said.
    if table.copies() < usize::from(policy.target) {
        return shortfalls;
    }
    for Spread { topology_key: key, min } in &policy.spread {
        let said = |shortfall: &Shortfall| matches!(shortfall, Shortfall::SpreadAboveDomains { key: other, .. } if other == key);
        if shortfalls.iter().any(said) {
            continue;
        }
        let mirrors: Vec<Option<&Mirror>> =
            table.mirrors().iter().map(|name| map.mirror(name.as_str())).collect();
        let reached = |partition| {
            let holders = table.holders(partition).iter();
            domains(holders.filter_map(|holder| mirrors[usize::from(*holder)]), *key)
        };
        let partitions = Partition::all().filter(|partition| reached(*partition) < usize::from(*min)).count();
        if (1..=PARTITIONS).contains(&partitions) {
            shortfalls.push(Shortfall::SpreadMissed { key: *key, min: *min, partitions });
        }
    }
    shortfalls
}

fn selected<'a>(map: &'a MirrorMap, policy: &Policy) -> Vec<&'a Mirror> {
    let names: BTreeSet<&str> = policy.mirrors.iter().map(AsRef::as_ref).collect();
    map.mirrors.iter().filter(|mirror| names.contains(mirror.name.as_str())).collect()
}

fn domains<'a>(mirrors: impl Iterator<Item = &'a Mirror>, key: TopologyKey) -> usize {
    mirrors.filter_map(|mirror| mirror.domain(key)).collect::<BTreeSet<&str>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CompiledMap, map::tests::sample};

    fn words(change: impl FnOnce(&mut MirrorMap)) -> Vec<String> {
        let mut map = sample();
        change(&mut map);
        let compiled = CompiledMap::build(map).unwrap();
        compiled.shortfalls("one").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_policy_that_holds_has_no_shortfall() {
        assert_eq!(words(|_| ()), [""; 0]);
    }

    #[test]
    fn no_mirror() {
        let nothing = "no mirror is selected, so nothing is copied: label a CacheMirror so that spec.mirrors selects it";
        assert_eq!(words(|map| map.policies[0].mirrors.clear()), [nothing]);
    }

    #[test]
    fn too_few_mirrors_and_too_few_domains() {
        assert_eq!(
            words(|map| {
                map.policies[0].target = 5;
                map.policies[0].spread[0].min = 3;
                map.mirrors[0].zone = None;
            }),
            [
                "5 copies are wanted but only 2 mirrors are selected, so every one of them holds everything: \
                 add 3 more or lower spec.copies.target",
                "copies in 3 different values of zone are wanted but the selected mirrors have only 1 (1 mirror has none): \
                 set the field on these, add mirrors elsewhere or lower the rule's min",
            ]
        );
    }

    #[test]
    fn rules_that_cross() {
        // Two copies over two zones and two regions: after c the other zone has only the same region, or the other way round.
        let said = words(|map| {
            let mut third = map.mirrors[0].clone();
            third.name = "c-0".parse().unwrap();
            map.mirrors.push(third);
            let places = [("z1", "r1"), ("z1", "r2"), ("z2", "r1")];
            for (mirror, (zone, region)) in map.mirrors.iter_mut().zip(places) {
                (mirror.zone, mirror.region) = (Some(zone.into()), Some(region.into()));
            }
            map.policies[0].mirrors.push("c-0".parse().unwrap());
            map.policies[0].spread[1].min = 2;
        });
        assert!(
            !said.is_empty()
                && said.iter().all(|words| words.starts_with("the spread rules together leave ")),
            "{said:?}"
        );
    }
}
