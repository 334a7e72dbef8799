//! The map that the mirror is given.

use anyhow::{Context as _, Result};
use granary_placement::{CompiledMap, Mirror, MirrorMap, MirrorState, Policy};

use crate::bench::corpus::Corpus;

/// Three mirrors that each hold everything, so that every narinfo names the other two.
pub(super) fn three_mirrors(corpus: &Corpus) -> Result<CompiledMap> {
    let mirror = |name: &str| -> Result<Mirror> {
        Ok(Mirror {
            zone: Some(format!("zone-{name}")),
            url: Some(format!("https://{name}.cache.example.org")),
            state: MirrorState::Serving,
            ..Mirror::new(name.parse().context("a mirror's name")?, "http://127.0.0.1:9")
        })
    };
    let mirrors = ["east-0", "north-0", "south-0"].map(mirror).into_iter().collect::<Result<Vec<_>>>()?;
    let policy = Policy {
        name: "bench".to_owned(),
        mirrors: mirrors.iter().map(|mirror| mirror.name.clone()).collect(),
        target: 3,
        spread: Vec::new(),
        store_paths: corpus.roots.clone(),
        channels: Vec::new(),
        retention: None,
    };
    let map = MirrorMap {
        epoch: 1,
        namespace: "bench".to_owned(),
        mirrors,
        policies: vec![policy],
        table_hash: String::new(),
    };
    CompiledMap::build(map).context("the benchmark's mirror map")
}
