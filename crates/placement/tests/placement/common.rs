//! Maps for the tests.

use granary_placement::{Mirror, MirrorMap, MirrorState, Policy, Spread, TopologyKey};
use proptest::prelude::*;

/// A serving mirror with a public URL.
pub fn mirror(name: &str, zone: Option<&str>, weight: u32) -> Mirror {
    Mirror {
        name: name.parse().unwrap(),
        disk: None,
        node: None,
        region: None,
        zone: zone.map(str::to_owned),
        organization: None,
        weight,
        url: Some(format!("https://{name}.example")),
        internal_url: format!("http://{name}.granary.svc:80"),
        state: MirrorState::Serving,
    }
}

/// A map of these mirrors with one policy, "all", that selects them all.
pub fn map_of(mirrors: Vec<Mirror>, target: u8, spread: &[(TopologyKey, u8)]) -> MirrorMap {
    let policy = Policy {
        name: "all".to_owned(),
        mirrors: mirrors.iter().map(|mirror| mirror.name.clone()).collect(),
        target,
        spread: spread
            .iter()
            .map(|(topology_key, min)| Spread { topology_key: *topology_key, min: *min })
            .collect(),
        store_paths: Vec::new(),
        channels: Vec::new(),
        retention: None,
    };
    let mut map = MirrorMap {
        epoch: 1,
        namespace: "granary".to_owned(),
        mirrors,
        policies: vec![policy],
        table_hash: String::new(),
    };
    map.canonicalize();
    map
}

/// `zones` zones of `each` mirrors, their weights in turn from `weights`.
pub fn grid(zones: usize, each: usize, weights: &[u32]) -> Vec<Mirror> {
    let place = (0..zones).flat_map(|zone| (0..each).map(move |number| (zone, number)));
    place
        .map(|(zone, number)| {
            mirror(
                &format!("m{zone}-{number}"),
                Some(&format!("zone-{zone}")),
                weights[number % weights.len()],
            )
        })
        .collect()
}

/// Any mirrors: few domains so that they meet, some without, and zones that cross organizations and regions.
pub fn any_mirrors() -> impl Strategy<Value = Vec<Mirror>> {
    let domain = |kind: &'static str, count: usize| {
        proptest::option::weighted(0.9, (0..count).prop_map(move |number| format!("{kind}-{number}")))
    };
    let one = (domain("zone", 5), domain("region", 3), domain("org", 3), 1_u32..100_000);
    proptest::collection::vec(one, 1..14).prop_map(|all| {
        let mirrors = all.into_iter().enumerate().map(|(number, (zone, region, organization, weight))| {
            Mirror { region, organization, ..mirror(&format!("m-{number}"), zone.as_deref(), weight) }
        });
        mirrors.collect()
    })
}

/// Any rules for a target, one for a key at most.
pub fn any_spread(target: u8) -> impl Strategy<Value = Vec<(TopologyKey, u8)>> {
    let keys = [TopologyKey::Zone, TopologyKey::Region, TopologyKey::Organization];
    let rules = keys.map(|key| proptest::option::of((Just(key), 1..=target)));
    rules.prop_map(|rules| rules.into_iter().flatten().collect())
}
