//! A mirror that holds everything, and whose nginx is measured.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::map::three_mirrors;
use crate::bench::corpus::{Corpus, published};
use crate::bench::measure;
use crate::bench::mirror::{self, Mirror};
use crate::bench::server::{PlainNginx, free_port};

/// Ended with this value.
pub(super) struct Holder {
    mirror: Mirror,
    port: u16,
    pub(super) url: String,
}

impl Holder {
    /// Starts it, and waits until it has everything.
    pub(super) fn start(
        corpus: &Corpus,
        program: &Path,
        upstream: &PlainNginx,
        tree: &Path,
        scratch: &Path,
    ) -> Result<Self> {
        let port = free_port()?;
        let map = scratch.join("map.json");
        fs::write(&map, three_mirrors(corpus)?.map().to_json()).context("cannot write the mirror map")?;
        let lan = corpus.lan_config(tree, &upstream.url(), port);
        // In the cluster the policy comes with the map, so the roots of the file go.
        let (head, rest) =
            lan.split_once("storePaths:\n").context("the configuration names no store paths")?;
        let listen = rest
            .lines()
            .find(|line| line.starts_with("listen:"))
            .context("the configuration has no listen")?;
        let config = format!("name: north-0\n{head}map: {{file: {}}}\n{listen}\n", map.display());
        let mirror = Mirror::start(program, &config, scratch)?;
        measure::wait_for_port(port, Duration::from_secs(20))?;
        wait_until_full(tree, corpus.paths.len())?;
        Ok(Self { mirror, port, url: format!("http://127.0.0.1:{port}") })
    }

    /// Every narinfo has its `Mirrors` line, which is what is measured with it.
    pub(super) fn has_mirrors(&self, narinfo: &str) -> Result<()> {
        let answer = mirror::get(self.port, narinfo).with_context(|| format!("no answer for {narinfo}"))?;
        ensure!(answer.1.contains("\nMirrors: "), "{narinfo} has no Mirrors line: {answer:?}");
        Ok(())
    }

    /// The master process of its nginx. The agent beside it does not serve.
    pub(super) fn nginx(&self, tree: &Path) -> Result<u32> {
        let file = tree.join(".granary/front/nginx.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let master = text.trim().parse().with_context(|| format!("{} holds no pid", file.display()))?;
        ensure!(measure::tree_has(self.mirror.pid(), master)?, "nginx {master} is not that of the mirror");
        Ok(master)
    }
}

fn wait_until_full(tree: &Path, artifacts: usize) -> Result<()> {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let held = published(tree);
        if held == artifacts {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the mirror has {held} of {artifacts} artifacts after 2 minutes");
        std::thread::sleep(Duration::from_millis(200));
    }
}
