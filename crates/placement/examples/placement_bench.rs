//! How long placement takes: `cargo run --release -p granary-placement --example placement_bench`.

use std::{hint::black_box, time::Instant};

use granary_placement::{
    CompiledMap, Mirror, MirrorMap, MirrorState, Partition, Policy, Spread, TopologyKey,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for (mirrors, zones, policies) in [(3, 3, 1), (100, 20, 1), (100, 20, 10), (1000, 20, 1), (1000, 1000, 1)]
    {
        let map = map(mirrors, zones, policies)?;
        let start = Instant::now();
        let compiled = CompiledMap::build(map)?;
        let built = start.elapsed();
        let start = Instant::now();
        let entries = compiled.entries_for(&compiled.map().mirrors[0].name);
        let listed = start.elapsed();
        println!(
            "{mirrors:5} mirrors {zones:5} zones {policies:3} policies: compile {built:8.1?}, entries {listed:7.1?}, {} lists",
            entries.lists()
        );
        if let Some(table) = compiled.table("policy-0") {
            let (start, rounds) = (Instant::now(), 1000);
            for _ in 0..rounds {
                for partition in Partition::all() {
                    black_box(table.holders(black_box(partition)));
                }
            }
            println!(
                "      lookups: {:.0} M/s",
                32.768e-3 * f64::from(rounds) / start.elapsed().as_secs_f64()
            );
        }
    }
    Ok(())
}

/// Mirrors of three sizes in zones of four regions, and policies for three copies over two regions.
fn map(mirrors: u32, zones: u32, policies: u32) -> Result<MirrorMap, Box<dyn std::error::Error>> {
    let mirror = |number: u32| -> Result<Mirror, Box<dyn std::error::Error>> {
        let name = format!("m-{number}");
        Ok(Mirror {
            url: Some(format!("https://{name}.example")),
            internal_url: format!("http://{name}.granary.svc"),
            name: name.parse()?,
            disk: None,
            node: None,
            region: Some(format!("region-{}", number % zones % 4)),
            zone: Some(format!("zone-{}", number % zones)),
            organization: None,
            weight: 1024 << (number % 3),
            state: MirrorState::Serving,
        })
    };
    let mirrors = (0..mirrors).map(mirror).collect::<Result<Vec<_>, _>>()?;
    let policy = |number| Policy {
        name: format!("policy-{number}"),
        mirrors: mirrors.iter().map(|mirror| mirror.name.clone()).collect(),
        target: 3,
        spread: vec![Spread { topology_key: TopologyKey::Region, min: 2 }],
        store_paths: Vec::new(),
        channels: Vec::new(),
        retention: None,
    };
    let policies = (0..policies).map(policy).collect();
    Ok(MirrorMap { epoch: 1, namespace: "bench".to_owned(), mirrors, policies, table_hash: String::new() })
}
