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
const ROUNDS: usize = 5;

/// One compression of the corpus.
struct Compression {
    name: &'static str,
    /// How `nix copy` is told to compress what it copies from there.
    targets: &'static [&'static str],
    /// How near to the decode bound the design asks a sync to be.
    bound: Option<f64>,
}

const COMPRESSIONS: [Compression; 2] = [
    Compression { name: "xz", targets: &["none"], bound: Some(0.95) },
    // At ten times the speed what a sync does besides is a larger part.
    Compression { name: "zstd", targets: &["none", "zstd"], bound: None },
];

/// How much faster the design asks a sync of xz, and one of zstd, to be than `nix copy` of xz to a file cache without
/// compression: its limits of 3.3 and 15 are that copy's 22.2 s by the 6.8 and 1.5 s of verifying alone. Of zstd,
/// `nix copy` decompresses as fast as anyone, and no sync that also hashes can be eight times faster.
const GOALS: [f64; 2] = [3.0, 8.0];

/// The costs of the sides, a round each.
#[derive(Default)]
struct Rounds {
    granary: Vec<Cost>,
    /// For each target.
    nix_copy: Vec<Vec<Cost>>,
    bound: Vec<Cost>,
    curl: Vec<Cost>,
}

/// Measures both compressions of the corpus.
pub fn rows(corpus: &Corpus, programs: &Programs, scratch: &Path) -> Result<Vec<Row>> {
    let measured = COMPRESSIONS
        .iter()
        .map(|compression| measure(compression, corpus, programs, scratch))
        .collect::<Result<Vec<_>>>()?;
    let paths = corpus.paths.len();
    let mut rows = Vec::new();
    for ((compression, rounds), goal) in COMPRESSIONS.iter().zip(&measured).zip(GOALS) {
        rows.push(against_nix_copy(compression, rounds, "xz", "none", &measured[0].nix_copy[0], Some(goal)));
        let targets = compression.targets.iter().zip(&rounds.nix_copy);
        for (target, copy) in targets.filter(|_| compression.name != "xz") {
            rows.push(against_nix_copy(compression, rounds, compression.name, target, copy, None));
        }
        rows.extend(compare(compression, rounds, paths));
    }
    Ok(rows)
}

fn measure(
    compression: &Compression,
    corpus: &Corpus,
    programs: &Programs,
    scratch: &Path,
) -> Result<Rounds> {
    let Compression { name, targets, .. } = *compression;
    let cache = corpus.cache(name);
    let upstream = PlainNginx::start(&cache, &scratch.join(format!("upstream-{name}")))?;
    let mut rounds = Rounds { nix_copy: vec![Vec::new(); targets.len()], ..Rounds::default() };
    for round in 0..ROUNDS {
        println!("  {name}, round {} of {ROUNDS}", round + 1);
        let folder = |side: &str| super::empty(&scratch.join(format!("{side}-{name}-{round}")));
        let bound = || measure::run(Command::new(programs.example("decode_bound")).arg(&cache));
        let sync = |side: &str| {
            let tree = folder(side)?;
            let cost = granary(corpus, programs, &upstream, &tree)?;
            free(&tree).map(|()| cost)
        };
        // One before and one after two of the other: a machine that becomes faster or slower meanwhile does so for both. They
        // differ by a few hundredths, and so does the machine from one minute to the next.
        let (before, one, other, after) = (bound()?, sync("granary")?, sync("granary-again")?, bound()?);
        rounds.bound.push(Cost::mean(before, after));
        rounds.granary.push(Cost::mean(one, other));
        for (target, costs) in targets.iter().zip(&mut rounds.nix_copy) {
            let copy = folder(&format!("nix-copy-{target}"))?;
            costs.push(nix_copy(corpus, &upstream, target, &copy)?);
            free(&copy)?;
        }
        let files = folder("curl")?;
        rounds.curl.push(curl(&cache, &upstream, &files)?);
        free(&files)?;
    }
    Ok(rounds)
}

/// Frees the space of what a round wrote. The files themselves stay until everything is measured: for each new one ext4 passes
/// over all that were removed in the last minute, and the next round would pay for that.
fn free(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            free(&entry.path())?;
        } else if kind.is_file() {
            fs::File::create(entry.path())
                .with_context(|| format!("cannot cut {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// The cost with the median time of each kind.
fn middle(costs: &[Cost]) -> Cost {
    Cost {
        cpu: median(&costs.iter().map(|cost| cost.cpu).collect::<Vec<_>>()),
        wall: median(&costs.iter().map(|cost| cost.wall).collect::<Vec<_>>()),
    }
}

/// The middle of the rounds' own ratios: what else the machine does differs more from round to round than within one.
fn ratio(theirs: &[Cost], ours: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    median(&theirs.iter().zip(ours).map(|(theirs, ours)| of(theirs) / of(ours)).collect::<Vec<_>>())
}

fn wall(cost: &Cost) -> f64 {
    cost.wall
}

fn cpu(cost: &Cost) -> f64 {
    cost.cpu
}

fn against_nix_copy(
    compression: &Compression,
    rounds: &Rounds,
    from: &str,
    to: &str,
    copy: &[Cost],
    goal: Option<f64>,
) -> Row {
    let (ours, nix) = (middle(&rounds.granary), middle(copy));
    let to = if to == "none" { "uncompressed".to_owned() } else { format!("as {to}") };
    Row {
        figure: format!(
            "verified sync of {} against nix copy of {from} to a file cache, {to}, wall",
            compression.name
        ),
        ratio: ratio(copy, &rounds.granary, wall),
        goal,
        detail: format!(
            "{:.2} s, nix copy {:.2} s (CPU {:.2} and {:.2} s)",
            ours.wall, nix.wall, ours.cpu, nix.cpu
        ),
    }
}

fn compare(compression: &Compression, rounds: &Rounds, paths: usize) -> [Row; 3] {
    let Compression { name, bound, .. } = *compression;
    let [ours, decode, curl] = [&rounds.granary, &rounds.bound, &rounds.curl].map(|costs| middle(costs));
    let row = |figure: &str, ratio: f64, goal: Option<f64>, detail: String| Row {
        figure: format!("verified sync of {name} against {figure}"),
        ratio,
        goal,
        detail,
    };
    [
        row(
            "decoding and hashing alone, CPU",
            ratio(&rounds.bound, &rounds.granary, cpu),
            bound,
            format!("{:.2} s, the same decoders and hashes {:.2} s; {paths} paths", ours.cpu, decode.cpu),
        ),
        row(
            "decoding and hashing alone on all cores, wall",
            ratio(&rounds.bound, &rounds.granary, wall),
            None,
            format!(
                "{:.2} s with the upstream's nginx on the same cores, {:.2} s without",
                ours.wall, decode.wall
            ),
        ),
        row(
            "curl -Z, which checks nothing, wall",
            ratio(&rounds.curl, &rounds.granary, wall),
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

fn nix_copy(corpus: &Corpus, upstream: &PlainNginx, compression: &str, folder: &Path) -> Result<Cost> {
    let settings = folder.join("etc");
    fs::create_dir_all(&settings)?;
    fs::write(
        settings.join("nix.conf"),
        "sandbox = false\nexperimental-features = nix-command\nbuild-users-group =\n",
    )?;
    let target = format!("file://{}?compression={compression}", folder.join("cache").display());
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
