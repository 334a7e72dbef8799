//! Where a mirror is, its configuration, and the map of several.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use granary_placement::{CompiledMap, Mirror as MapMirror, MirrorMap, MirrorState, Partition, Policy};

use super::{Artifact, free_port};

/// Where one mirror is and listens. Two that are equal are the same mirror, one after the other.
#[derive(Clone)]
pub struct Site {
    pub name: String,
    pub base: PathBuf,
    pub http: u16,
    pub agent: u16,
}

impl Site {
    pub fn new(base: &Path, name: &str) -> Self {
        let base = base.join(name);
        std::fs::create_dir_all(&base).unwrap();
        Self { name: name.into(), base, http: free_port(), agent: free_port() }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    pub fn tree(&self) -> PathBuf {
        self.base.join("tree")
    }

    /// The file that [`config`] writes.
    pub fn config(&self) -> PathBuf {
        self.base.join("config.yaml")
    }

    /// For what nginx's files are in: a line of the configuration.
    pub fn front_apart(&self) -> String {
        format!("frontDirectory: '{}'", self.base.join("front").display())
    }
}

/// Writes a configuration for the site: `more`, which is YAML, and of the rest what `more` does not set.
pub fn config(site: &Site, upstream: &str, key: &str, more: &str) -> PathBuf {
    let Site { name, http, agent, .. } = site;
    let mut yaml = format!("name: {name}\ndirectory: {}\n{more}\n", site.tree().display());
    for (field, value) in [
        ("upstreams", format!("[{{url: '{upstream}', publicKeys: ['{key}']}}]")),
        ("listen", format!("{{http: '127.0.0.1:{http}', agent: '127.0.0.1:{agent}'}}")),
        ("syncSeconds", "1".to_owned()),
    ] {
        if !more.lines().any(|line| line.starts_with(&format!("{field}:"))) {
            writeln!(yaml, "{field}: {value}").unwrap();
        }
    }
    // Whole at once: a mirror may be looking.
    let (new, path) = (site.base.join("config.new"), site.config());
    std::fs::write(&new, yaml).unwrap();
    std::fs::rename(new, &path).unwrap();
    path
}

/// The line of a configuration that asks for these.
pub fn wants(artifacts: &[&Artifact]) -> String {
    let paths: Vec<&str> = artifacts.iter().map(|artifact| artifact.path.as_str()).collect();
    format!("storePaths: {paths:?}")
}

/// A map of these mirrors, all of them serving and selected by one policy with these roots.
pub fn map_of(epoch: u64, sites: &[&Site], target: u8, roots: &[&str]) -> CompiledMap {
    let mirror = |site: &&Site| MapMirror {
        url: Some(site.url()),
        state: MirrorState::Serving,
        ..MapMirror::new(site.name.parse().unwrap(), site.url())
    };
    let policy = Policy {
        name: "test".into(),
        mirrors: sites.iter().map(|site| site.name.parse().unwrap()).collect(),
        target,
        spread: vec![],
        store_paths: roots.iter().map(|&root| root.to_owned()).collect(),
        channels: vec![],
        retention: None,
    };
    CompiledMap::build(MirrorMap {
        epoch,
        namespace: "granary".into(),
        mirrors: sites.iter().map(mirror).collect(),
        policies: vec![policy],
        table_hash: String::new(),
    })
    .unwrap()
}

/// A map of mirrors with these names, for what is placed where, which is a matter of names alone.
pub fn names_only(names: &[&str], target: u8) -> CompiledMap {
    let site = |(port, name): (u16, &&str)| Site {
        name: (*name).into(),
        base: PathBuf::new(),
        http: port,
        agent: port,
    };
    let sites: Vec<Site> = (1..).zip(names).map(site).collect();
    map_of(1, &sites.iter().collect::<Vec<_>>(), target, &[])
}

/// An artifact with this content whose partition is as wanted.
pub fn placed(name: &str, content: &[u8], wanted: impl Fn(Partition) -> bool) -> Artifact {
    (0..1000)
        .map(|seed| Artifact::new(name, seed, content.to_vec(), &[]))
        .find(|artifact| wanted(Partition::of(artifact.hash_part()).unwrap()))
        .unwrap()
}
