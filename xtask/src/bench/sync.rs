//! `cargo xtask bench sync`: a verified sync against what the processor must decode, and against `nix copy`, which
//! verifies nothing on the way into a file cache.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::corpus::{Corpus, published};
use super::measure::{self, Cost};
use super::server::PlainNginx;
use super::table::{Row, median};

/// Rounds, alternating between the two sides.
const ROUNDS: usize = 3;

/// Measures both compressions of the corpus.
pub fn rows(corpus: &Corpus, mirror: &Path, scratch: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (compression, goal) in [("xz", 3.0), ("zstd", 8.0)] {
        let upstream =
            PlainNginx::start(&corpus.cache(compression), &scratch.join(format!("upstream-{compression}")))?;
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        let mut bound = Vec::new();
        for round in 0..ROUNDS {
            println!("  {compression}, round {} of {ROUNDS}", round + 1);
            ours.push(granary(corpus, mirror, &upstream, &super::empty(&scratch.join("granary"))?)?);
            theirs.push(nix_copy(corpus, &upstream, &super::empty(&scratch.join("nix-copy"))?)?);
            bound.push(decode(&corpus.cache(compression), compression)?);
        }
        let (ours_wall, theirs_wall) = (middle(&ours, |cost| cost.wall), middle(&theirs, |cost| cost.wall));
        let (ours_cpu, bound_cpu) = (middle(&ours, |cost| cost.cpu), middle(&bound, |cost| cost.cpu));
        rows.push(Row {
            figure: format!("verified sync of {compression} against nix copy, wall"),
            ratio: theirs_wall / ours_wall,
            goal: Some(goal),
            detail: format!("{ours_wall:.2} s, nix copy {theirs_wall:.2} s, {} paths", corpus.paths.len()),
        });
        rows.push(Row {
            figure: format!("verified sync of {compression} against decode and hash alone, CPU"),
            ratio: bound_cpu / ours_cpu,
            goal: None,
            detail: format!("{ours_cpu:.2} s, {compression} -dc | sha256sum {bound_cpu:.2} s"),
        });
    }
    Ok(rows)
}

fn middle(costs: &[Cost], figure: impl Fn(&Cost) -> f64) -> f64 {
    median(&costs.iter().map(figure).collect::<Vec<_>>())
}

fn granary(corpus: &Corpus, mirror: &Path, upstream: &PlainNginx, folder: &Path) -> Result<Cost> {
    let config = folder.join("mirror.yaml");
    fs::write(&config, corpus.lan_config(&folder.join("tree"), &upstream.url(), 8080))
        .context("cannot write the configuration")?;
    let cost = measure::run(Command::new(mirror).arg("sync").arg("--config").arg(&config))?;
    let narinfos = published(&folder.join("tree"));
    ensure!(
        narinfos == corpus.paths.len(),
        "the sync published {narinfos} of {} artifacts",
        corpus.paths.len()
    );
    Ok(cost)
}

fn nix_copy(corpus: &Corpus, upstream: &PlainNginx, folder: &Path) -> Result<Cost> {
    let settings = folder.join("etc");
    fs::create_dir_all(&settings)?;
    fs::write(
        settings.join("nix.conf"),
        "sandbox = false\nexperimental-features = nix-command\nbuild-users-group =\n",
    )?;
    let target = format!("file://{}?compression=none", folder.join("cache").display());
    measure::run(
        Command::new("nix")
            .env("HOME", folder)
            .env("NIX_CONF_DIR", &settings)
            .env("NIX_STATE_DIR", folder.join("state"))
            .args(["copy", "--no-check-sigs", "--from", &upstream.url(), "--to", &target])
            .args(&corpus.paths),
    )
}

fn decode(cache: &Path, compression: &str) -> Result<Cost> {
    let script = format!("for f in \"$1\"/nar/*; do {compression} -dc \"$f\" | sha256sum; done");
    measure::run(Command::new("sh").arg("-c").arg(script).arg("decode").arg(cache))
}
