//! `cargo xtask bench sync`: a verified sync against `nix copy`, which verifies nothing on the way into a file cache, and
//! against what the cores must decode.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Programs;
use super::corpus::{Corpus, published};
use super::measure::{self, Cost};
use super::server::PlainNginx;
use super::table::{Row, median};

/// Rounds, alternating between the sides.
const ROUNDS: usize = 3;

/// One compression, and how much faster than `nix copy` and how near to the decode bound the design asks a sync to be.
struct Compression {
    name: &'static str,
    nix_copy: f64,
    bound: Option<f64>,
}

const COMPRESSIONS: [Compression; 2] = [
    Compression { name: "xz", nix_copy: 3.0, bound: Some(0.95) },
    // At ten times the speed what a sync does besides is a larger part.
    Compression { name: "zstd", nix_copy: 8.0, bound: None },
];

/// The costs of the sides, a round each.
#[derive(Default)]
struct Rounds {
    granary: Vec<Cost>,
    nix_copy: Vec<Cost>,
    bound: Vec<Cost>,
    curl: Vec<Cost>,
}

/// Measures both compressions of the corpus.
pub fn rows(corpus: &Corpus, programs: &Programs, scratch: &Path) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for compression in &COMPRESSIONS {
        let name = compression.name;
        let cache = corpus.cache(name);
        let upstream = PlainNginx::start(&cache, &scratch.join(format!("upstream-{name}")))?;
        let mut rounds = Rounds::default();
        for round in 0..ROUNDS {
            println!("  {name}, round {} of {ROUNDS}", round + 1);
            rounds.bound.push(measure::run(Command::new(programs.example("decode_bound")).arg(&cache))?);
            rounds.granary.push(granary(
                corpus,
                programs,
                &upstream,
                &super::empty(&scratch.join("granary"))?,
            )?);
            rounds.nix_copy.push(nix_copy(corpus, &upstream, &super::empty(&scratch.join("nix-copy"))?)?);
            rounds.curl.push(curl(&cache, &upstream, &super::empty(&scratch.join("curl"))?)?);
        }
        rows.extend(compare(compression, &rounds, corpus.paths.len()));
    }
    Ok(rows)
}

fn compare(compression: &Compression, rounds: &Rounds, paths: usize) -> [Row; 4] {
    let Compression { name, nix_copy, bound } = *compression;
    let middle = |costs: &[Cost]| Cost {
        cpu: median(&costs.iter().map(|cost| cost.cpu).collect::<Vec<_>>()),
        wall: median(&costs.iter().map(|cost| cost.wall).collect::<Vec<_>>()),
    };
    let [ours, nix, decode, curl] =
        [&rounds.granary, &rounds.nix_copy, &rounds.bound, &rounds.curl].map(|costs| middle(costs));
    let row = |figure: &str, ratio: f64, goal: Option<f64>, detail: String| Row {
        figure: format!("verified sync of {name} against {figure}"),
        ratio,
        goal,
        detail,
    };
    [
        row(
            "nix copy to a file cache, wall",
            nix.wall / ours.wall,
            Some(nix_copy),
            format!(
                "{:.2} s, nix copy {:.2} s (CPU {:.2} and {:.2} s); {paths} paths",
                ours.wall, nix.wall, ours.cpu, nix.cpu
            ),
        ),
        row(
            "decoding and hashing alone, CPU",
            decode.cpu / ours.cpu,
            bound,
            format!("{:.2} s, the same decoders and hashes {:.2} s", ours.cpu, decode.cpu),
        ),
        row(
            "decoding and hashing alone on all cores, wall",
            decode.wall / ours.wall,
            None,
            format!(
                "{:.2} s with the upstream's nginx on the same cores, {:.2} s without",
                ours.wall, decode.wall
            ),
        ),
        row(
            "curl -Z, which checks nothing, wall",
            curl.wall / ours.wall,
            None,
            format!("{:.2} s, curl {:.2} s", ours.wall, curl.wall),
        ),
    ]
}

fn granary(corpus: &Corpus, programs: &Programs, upstream: &PlainNginx, folder: &Path) -> Result<Cost> {
    let config = folder.join("mirror.yaml");
    fs::write(&config, corpus.lan_config(&folder.join("tree"), &upstream.url(), 8080))
        .context("cannot write the configuration")?;
    let cost = measure::run(Command::new(programs.mirror()).arg("sync").arg("--config").arg(&config))?;
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

/// Every file of the cache, 16 at a time.
fn curl(cache: &Path, upstream: &PlainNginx, folder: &Path) -> Result<Cost> {
    let mut list = Vec::new();
    for (from, below) in [(cache.to_owned(), ""), (cache.join("nar"), "nar/")] {
        for entry in fs::read_dir(&from).with_context(|| format!("cannot list {}", from.display()))? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                let name = format!("{below}{}", entry.file_name().to_string_lossy());
                list.push(format!("url = \"{}/{name}\"\noutput = \"{name}\"\n", upstream.url()));
            }
        }
    }
    fs::write(folder.join("list"), list.concat()).context("cannot write the list of files")?;
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--fail",
        "--parallel",
        "--parallel-max",
        "16",
        "--create-dirs",
        "--config",
        "list",
    ]);
    measure::run(curl.current_dir(folder))
}
