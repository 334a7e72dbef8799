//! One placement, fixed: another machine, another compiler and a later version compute the same, or the contexts in
//! `draw.rs` have to count up and every mirror has to move to the new version before the operator.

use granary_placement::{CompiledMap, Partition, TopologyKey};

use super::common::{grid, map_of, mirror};

#[test]
fn the_fixed_map_has_the_fixed_table() {
    let mut mirrors = grid(4, 3, &[1024, 512, 2048]);
    for (number, mirror) in mirrors.iter_mut().enumerate() {
        mirror.region = Some(format!("region-{}", number / 6));
    }
    mirrors.push(mirror("alone", None, 300));
    let rules = [(TopologyKey::Zone, 3), (TopologyKey::Region, 2)];
    let compiled = CompiledMap::build(map_of(mirrors, 4, &rules)).unwrap();
    let table = compiled.table("all").unwrap();
    let holders = |partition| {
        let names = table.holder_names(Partition::of(partition).unwrap()).map(AsRef::as_ref);
        names.collect::<Vec<&str>>().join(" ")
    };
    let shown = ["000", "0z1", "g5a", "zzz"].map(holders);
    assert_eq!(
        shown,
        ["m3-1 m1-0 m2-2 m0-1", "m3-2 m0-1 m2-2 alone", "m1-2 m2-0 m0-0 m3-2", "m0-2 m3-2 m2-0 alone"]
    );
    assert_eq!(compiled.map().table_hash, "04c8823dad5b9d8e9f2f36a94e6f652c262976694678e72f8a0854ebee08a037");
}
