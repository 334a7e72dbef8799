//! From the configuration and the map to what a pass is asked to do. Pure.

use std::sync::Arc;

use granary_fetch::{Access, Source, SourceKind};
use granary_nix::StorePath;
use granary_placement::{CompiledMap, MirrorName, Table};

use crate::sync::{Assigned, Job, PartitionSet, PolicyJob, trust_of};

/// The policy's name in LAN mode, where there is only one.
pub const LAN_POLICY: &str = "storePaths";

/// LAN mode: the roots and their closure, all of it here.
#[must_use]
pub fn of_roots(roots: &[StorePath], upstreams: &[Source]) -> Job {
    let policy = PolicyJob { name: LAN_POLICY.into(), roots: roots.to_vec(), assigned: Assigned::All };
    Job { policies: vec![policy], sources: upstreams.to_vec(), elsewhere: Some(Vec::new()) }
}

/// What the map asks of the mirror `own`. Other mirrors are sources too: what they say counts when it would count from any
/// upstream.
#[must_use]
pub fn of_map(map: &CompiledMap, own: &MirrorName, upstreams: &[Source]) -> Job {
    let policies = map.policies_of(own).map(|(policy, table)| PolicyJob {
        name: policy.name.clone(),
        // The map was checked, so every root is a store path.
        roots: policy.store_paths.iter().filter_map(|root| StorePath::parse(root).ok()).collect(),
        assigned: Assigned::Partitions(Arc::new(assigned(table, own))),
    });
    let trust = Arc::new(trust_of(upstreams));
    let others = map.map().mirrors.iter().filter(|mirror| mirror.name != *own).filter_map(|mirror| {
        let url = mirror.internal_url.parse().ok()?;
        let (priority, kind, access) = (0, SourceKind::Mirror, Access::default());
        Some(Source { url, trust: Arc::clone(&trust), priority, kind, access })
    });
    let elsewhere = map.map().policies.iter().filter(|policy| !policy.mirrors.contains(own));
    let roots =
        elsewhere.flat_map(|policy| &policy.store_paths).filter_map(|root| StorePath::parse(root).ok());
    Job {
        policies: policies.collect(),
        sources: upstreams.iter().cloned().chain(others).collect(),
        elsewhere: Some(roots.collect()),
    }
}

fn assigned(table: &Table, own: &MirrorName) -> PartitionSet {
    let place = table.place_of(own.as_str());
    PartitionSet::from_fn(|partition| place.is_some_and(|place| table.holders(partition).contains(&place)))
}

#[cfg(test)]
mod tests {
    use granary_nix::PublicKeys;
    use granary_placement::{Mirror, MirrorMap, MirrorState, Partition, Policy};

    use super::*;

    const KEYS: [&str; 2] = [
        "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=",
        "nix-community.cachix.org-1:mB9FSh9qf2dCimDSUo8Zy7bkq5CX+/rkCWyvRCYg3Fs=",
    ];

    fn upstream(host: &str, keys: &[&str]) -> Source {
        let (url, keys) = (format!("https://{host}").parse().unwrap(), PublicKeys::parse(keys).unwrap());
        Source::new(url, &keys, 40, SourceKind::Upstream)
    }

    fn map() -> CompiledMap {
        let mirror = |name: &str| Mirror {
            name: name.parse().unwrap(),
            disk: None,
            node: None,
            region: None,
            zone: Some(name.into()),
            organization: None,
            weight: 1,
            url: None,
            internal_url: format!("http://{name}:80"),
            state: MirrorState::Joining,
        };
        let policy = |name: &str, mirrors: &[&str], target| Policy {
            name: name.into(),
            mirrors: mirrors.iter().map(|name| name.parse().unwrap()).collect(),
            target,
            spread: vec![],
            store_paths: vec!["/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0".into()],
        };
        CompiledMap::build(MirrorMap {
            epoch: 1,
            namespace: "granary".into(),
            mirrors: ["east-0", "north-0", "west-0"].map(mirror).into(),
            policies: vec![
                policy("all", &["east-0", "north-0", "west-0"], 3),
                policy("one", &["east-0", "north-0"], 1),
                policy("others", &["west-0"], 1),
            ],
            table_hash: String::new(),
        })
        .unwrap()
    }

    #[test]
    fn a_mirror_holds_what_its_policies_give_it() {
        let map = map();
        let upstreams = [upstream("a", &KEYS[..1]), upstream("b", &KEYS)];
        let jobs = ["east-0", "north-0"].map(|own| of_map(&map, &own.parse().unwrap(), &upstreams));
        for job in &jobs {
            let names: Vec<_> = job.policies.iter().map(|policy| policy.name.as_str()).collect();
            assert_eq!(names, ["all", "one"]);
            assert_eq!(job.policies[0].roots.len(), 1);
        }
        let sets = jobs.each_ref().map(|job| {
            let Assigned::Partitions(all) = &job.policies[0].assigned else {
                panic!("a map gives partitions")
            };
            let Assigned::Partitions(one) = &job.policies[1].assigned else {
                panic!("a map gives partitions")
            };
            assert_eq!(all.len(), granary_placement::PARTITIONS);
            Arc::clone(one)
        });
        assert!(Partition::all().all(|partition| sets[0].contains(partition) != sets[1].contains(partition)));
    }

    #[test]
    fn other_mirrors_are_sources_under_the_rules_of_all_upstreams() {
        let upstreams = [upstream("a", &KEYS[..1]), upstream("b", &KEYS)];
        let job = of_map(&map(), &"east-0".parse().unwrap(), &upstreams);
        let urls: Vec<String> = job.sources.iter().map(|source| source.url.to_string()).collect();
        assert_eq!(urls, ["https://a", "https://b", "http://north-0", "http://west-0"]);
        assert_eq!(job.sources[3].trust.rules().len(), 2);
        assert_eq!(job.sources[3].kind, SourceKind::Mirror);
    }

    #[test]
    fn what_other_mirrors_hold_by_policies_that_do_not_select_this_one_is_known_too() {
        let elsewhere = |own: &str| of_map(&map(), &own.parse().unwrap(), &[]).elsewhere.unwrap().len();
        assert_eq!(["east-0", "west-0", "south-0"].map(elsewhere), [1, 1, 3]);
    }

    #[test]
    fn a_mirror_that_no_policy_selects_has_nothing_to_do() {
        assert!(of_map(&map(), &"south-0".parse().unwrap(), &[]).policies.is_empty());
    }
}
