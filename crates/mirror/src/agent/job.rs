//! From the configuration and the map to what a pass is asked to do.

use std::sync::Arc;
use std::time::Duration;

use granary_fetch::{Access, Source, SourceKind};
use granary_nix::StorePath;
use granary_placement::{Channel, CompiledMap, MirrorName, Policy, Table};

use crate::channels::{Followed, Taken};
use crate::config::{Config, Wanted};
use crate::retention::machine::Rules;
use crate::sync::{Assigned, Job, PartitionSet, PolicyJob, Roots, trust_of};

/// The policy's name in LAN mode, where there is only one.
pub const LAN_POLICY: &str = "storePaths";

/// What is to be done now.
#[derive(Debug)]
pub struct Task {
    /// By which epoch of the map; 0 without a map.
    pub epoch: u64,
    /// What the pass is asked to do.
    pub job: Job,
    /// How long what nobody wants stays; `None`: for ever.
    pub rules: Option<Rules>,
    /// For each policy of the job, the revisions whose lists are among its roots.
    pub taken: Vec<Taken>,
}

/// What is to be done. `None`: there is no map yet. Blocks on the disk, where the lists of channels are.
pub fn task(config: &Config, map: Option<&CompiledMap>, followed: &Followed) -> Option<Task> {
    let own = &config.name;
    let mut task = match (&config.wanted, map) {
        (Wanted::Roots(roots), _) => {
            let job = of_roots(roots, &config.upstreams, !config.channels.is_empty());
            Task { epoch: 0, job, rules: config.retention, taken: Vec::new() }
        }
        (Wanted::Map(_), Some(map)) => {
            let rules = config.retention.or_else(|| rules(map, own));
            followed.adopt(channels(map, own, rules.is_some()));
            let (job, taken) = of_map(map, own, &config.upstreams, &|policy| roots(policy, followed));
            Task { epoch: map.map().epoch, job, rules, taken }
        }
        (Wanted::Map(_), None) => return None,
    };
    // Nobody else needs to know what is wanted altogether.
    if task.rules.is_none() {
        task.job.elsewhere = None;
    }
    Some(task)
}

/// The longest periods of the policies that select this mirror. One without any keeps everything.
fn rules(map: &CompiledMap, own: &MirrorName) -> Option<Rules> {
    let periods = map.map().policies_of(own).map(|policy| policy.retention);
    let longest = periods.reduce(|one, other| Some(one?.longest(other?)))??;
    let (grace, trash) =
        (Duration::from_secs(longest.grace_seconds), Duration::from_secs(longest.trash_seconds));
    Some(Rules { grace, trash })
}

/// The channels that matter here: those of the policies that select this mirror, and where something may go, of all.
fn channels<'m>(map: &'m CompiledMap, own: &'m MirrorName, all: bool) -> impl Iterator<Item = &'m Channel> {
    let policies = map.map().policies.iter().filter(move |policy| all || policy.mirrors.contains(own));
    policies.flat_map(|policy| &policy.channels)
}

/// A policy's roots, and the revisions that some of them are of.
fn roots(policy: &Policy, followed: &Followed) -> (Roots, Taken) {
    let (mut roots, taken) = followed.take(&policy.channels);
    // The map was checked, so every root is a store path.
    roots.named = policy.store_paths.iter().filter_map(|root| StorePath::parse(root).ok()).collect();
    (roots, taken)
}

/// LAN mode: the roots and their closure, all of it here. With `channels`, which are brought beside the passes, there may be no
/// roots: a policy of none would say that nobody knows what is wanted.
#[must_use]
pub fn of_roots(roots: &[StorePath], upstreams: &[Source], channels: bool) -> Job {
    let policy = PolicyJob {
        name: LAN_POLICY.into(),
        roots: roots.iter().cloned().collect(),
        assigned: Assigned::All,
    };
    let policies = if roots.is_empty() && channels { Vec::new() } else { vec![policy] };
    let elsewhere = Some(Roots::default());
    Job { policies, sources: upstreams.to_vec(), elsewhere, others: channels }
}

/// What the map asks of the mirror `own`. Other mirrors are sources too: what they say counts when it would count from any
/// upstream. `roots`: a policy's, and the revisions that some of them are of.
fn of_map(
    map: &CompiledMap,
    own: &MirrorName,
    upstreams: &[Source],
    roots: &dyn Fn(&Policy) -> (Roots, Taken),
) -> (Job, Vec<Taken>) {
    let policies = map.policies_of(own).map(|(policy, table)| {
        let assigned = Assigned::Partitions(Arc::new(assigned(table, own)));
        let (roots, taken) = roots(policy);
        (PolicyJob { name: policy.name.clone(), roots, assigned }, taken)
    });
    let (policies, taken) = policies.unzip();
    let trust = Arc::new(trust_of(upstreams));
    let others = map.map().mirrors.iter().filter(|mirror| mirror.name != *own).filter_map(|mirror| {
        let url = mirror.internal_url.parse().ok()?;
        let (priority, kind, access) = (0, SourceKind::Mirror, Access::default());
        Some(Source { url, trust: Arc::clone(&trust), priority, kind, access })
    });
    let sources = upstreams.iter().cloned().chain(others).collect();
    let mut elsewhere = Roots::default();
    for policy in map.map().policies.iter().filter(|policy| !policy.mirrors.contains(own)) {
        elsewhere.extend(roots(policy).0);
    }
    (Job { policies, sources, elsewhere: Some(elsewhere), others: false }, taken)
}

fn assigned(table: &Table, own: &MirrorName) -> PartitionSet {
    let place = table.place_of(own.as_str());
    PartitionSet::from_fn(|partition| place.is_some_and(|place| table.holders(partition).contains(&place)))
}

#[cfg(test)]
mod tests {
    use granary_nix::PublicKeys;
    use granary_placement::{Mirror, MirrorMap, MirrorState, Partition, Retention};

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
            channels: vec![Channel { url: format!("https://x/{name}"), keep: 1 }],
            retention: Some(Retention { grace_seconds: target.into(), trash_seconds: 9 }),
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

    fn job(own: &str, upstreams: &[Source]) -> Job {
        let named = |policy: &Policy| {
            let paths = policy.store_paths.iter().map(|path| StorePath::parse(path).unwrap());
            (paths.collect(), Taken::new())
        };
        of_map(&map(), &own.parse().unwrap(), upstreams, &named).0
    }

    #[test]
    fn a_mirror_holds_what_its_policies_give_it() {
        let upstreams = [upstream("a", &KEYS[..1]), upstream("b", &KEYS)];
        let jobs = ["east-0", "north-0"].map(|own| job(own, &upstreams));
        for job in &jobs {
            let names: Vec<_> = job.policies.iter().map(|policy| policy.name.as_str()).collect();
            assert_eq!(names, ["all", "one"]);
            assert_eq!(job.policies[0].roots.named.len(), 1);
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
        let job = job("east-0", &upstreams);
        let urls: Vec<String> = job.sources.iter().map(|source| source.url.to_string()).collect();
        assert_eq!(urls, ["https://a", "https://b", "http://north-0", "http://west-0"]);
        assert_eq!(job.sources[3].trust.rules().len(), 2);
        assert_eq!(job.sources[3].kind, SourceKind::Mirror);
    }

    #[test]
    fn what_other_mirrors_hold_by_policies_that_do_not_select_this_one_is_known_too() {
        let elsewhere = |own: &str| job(own, &[]).elsewhere.unwrap().named.len();
        assert_eq!(["east-0", "west-0", "south-0"].map(elsewhere), [1, 1, 3]);
    }

    #[test]
    fn a_mirror_that_no_policy_selects_has_nothing_to_do() {
        assert!(job("south-0", &[]).policies.is_empty());
    }

    #[test]
    fn the_longest_periods_count_and_one_without_any_keeps_everything() {
        let of = |map: MirrorMap, own: &str| rules(&CompiledMap::build(map).unwrap(), &own.parse().unwrap());
        let seconds = |grace, trash| {
            let (grace, trash) = (Duration::from_secs(grace), Duration::from_secs(trash));
            Some(Rules { grace, trash })
        };
        let all = map().map().clone();
        assert_eq!(of(all.clone(), "east-0"), seconds(3, 9), "of the policies all and one");
        assert_eq!(of(all.clone(), "south-0"), None);
        let mut some = all;
        some.policies[1].retention = None;
        assert_eq!(of(some.clone(), "east-0"), None);
        assert_eq!(of(some, "west-0"), seconds(3, 9), "that policy does not select it");
    }

    #[test]
    fn a_mirror_of_channels_alone_has_no_policy_and_no_doubt() {
        let named = |roots: &[StorePath], channels| {
            let job = of_roots(roots, &[], channels);
            (job.policies.len(), job.others)
        };
        let root = StorePath::parse("/nix/store/gs26yhwqhp7ilmz2p2pnfkdqrndxyyfj-app-1.0").unwrap();
        assert_eq!(named(&[], true), (0, true));
        assert_eq!(named(std::slice::from_ref(&root), true), (1, true));
        assert_eq!(named(&[], false), (1, false), "one that names nothing: nothing follows from it");
        assert!(!job("south-0", &[]).others, "a map without a policy for this mirror says nothing");
    }

    #[test]
    fn channels_of_other_policies_matter_only_where_something_may_go() {
        let (map, own) = (map(), "west-0".parse().unwrap());
        let names = |all| channels(&map, &own, all).map(Channel::name).collect::<Vec<_>>();
        assert_eq!(names(false), ["all", "others"]);
        assert_eq!(names(true), ["all", "one", "others"]);
    }
}
