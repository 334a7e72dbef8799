//! `cargo xtask bench memory`: what a sync takes at most, whatever the size of a NAR, alone and with clients.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::corpus::{Corpus, published};
use super::mirror::{LOOK, Mirror};
use super::peak::{self, MIB};
use super::server::{PlainNginx, free_port};
use super::table::Row;
use super::{Programs, measure};

/// What a process may take besides the decoders' windows.
const GOAL: f64 = 64.0 * MIB;

/// Clients that download while a sync runs.
const CLIENTS: usize = 64;

/// A cache with one large artifact.
struct Giant {
    server: PlainNginx,
    path: String,
    key: String,
    compression: &'static str,
    /// What its decoder keeps, in bytes: the dictionary that the file asks for, and what the format's library says itself.
    window: f64,
}

/// Measures one NAR of 10 GiB (`small`: 1 GiB) in each compression, the whole corpus, and a mirror that serves meanwhile.
pub fn rows(corpus: &Corpus, programs: &Programs, small: bool, scratch: &Path) -> Result<Vec<Row>> {
    let gibibytes: u64 = if small { 1 } else { 10 };
    let mut rows = Vec::new();
    let mut giants = Vec::new();
    for (compression, window) in [("xz", 9.0 * MIB), ("zstd", 8.5 * MIB)] {
        println!("  a NAR of {gibibytes} GiB, {compression}");
        let giant = Giant::make(programs, compression, window, gibibytes << 30, scratch)?;
        let tree = scratch.join(format!("tree-{compression}"));
        let peak = sync(programs, &config(&tree, &[giant.upstream()], &[&giant.path], 8080), scratch)?;
        ensure!(published(&tree) == 1, "the NAR of {gibibytes} GiB was not published");
        rows.push(row(
            &format!("sync of one NAR of {gibibytes} GiB as {compression}"),
            peak,
            giant.window,
            "",
        ));
        giants.push(giant);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[allow(clippy::cast_precision_loss, reason = "a count of cores")]
    let windows = 9.0 * MIB * cores as f64;
    let upstream = PlainNginx::start(&corpus.cache("xz"), &scratch.join("upstream"))?;
    let whole = sync(programs, &corpus.lan_config(&scratch.join("tree"), &upstream.url(), 8080), scratch)?;
    let figure = format!("sync of {} packages as xz, {cores} decoders", corpus.paths.len());
    rows.push(row(&figure, whole, windows, ""));
    if let Some(giant) = giants.first() {
        println!("  the same with {CLIENTS} clients");
        rows.push(serving(corpus, programs, &upstream, giant, windows, scratch)?);
    }
    Ok(rows)
}

fn row(figure: &str, peak: f64, window: f64, more: &str) -> Row {
    let (mib, decoders) = (peak / MIB, window / MIB);
    Row {
        figure: format!("{figure}: 64 MiB and the decoders, against the peak"),
        ratio: (GOAL + window) / peak,
        goal: Some(1.0),
        detail: format!("{mib:.1} MiB at most, {decoders:.1} MiB of them for decoders{more}"),
    }
}

impl Giant {
    fn make(
        programs: &Programs,
        compression: &'static str,
        window: f64,
        bytes: u64,
        scratch: &Path,
    ) -> Result<Self> {
        let folder = scratch.join(format!("giant-{compression}"));
        let output = Command::new(programs.example("giant_cache"))
            .arg(&folder)
            .args([bytes.to_string().as_str(), compression])
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start giant_cache")?;
        ensure!(output.status.success(), "giant_cache ended with {}", output.status);
        let words = String::from_utf8(output.stdout).context("giant_cache's words")?;
        let mut words = words.lines().map(str::to_owned);
        let (path, key) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let server = PlainNginx::start(&folder, &scratch.join(format!("nginx-{compression}")))?;
        Ok(Self { server, path, key, compression, window })
    }

    fn upstream(&self) -> (String, &str) {
        (self.server.url(), &self.key)
    }
}

/// A configuration with these upstreams, URL and key, and these roots.
fn config(tree: &Path, upstreams: &[(String, &str)], roots: &[&str], port: u16) -> String {
    let upstreams: Vec<String> =
        upstreams.iter().map(|(url, key)| format!("- url: {url}\n  publicKeys: [\"{key}\"]\n")).collect();
    let (upstreams, roots) = (upstreams.concat(), roots.join(", "));
    let (tree, agent) = (tree.display(), port + 1);
    format!(
        "directory: {tree}\nupstreams:\n{upstreams}storePaths: [{roots}]\nlisten: {{http: \"127.0.0.1:{port}\", agent: \"127.0.0.1:{agent}\"}}\n"
    )
}

/// The peak of a `granary-mirror sync`, in bytes.
fn sync(programs: &Programs, config: &str, scratch: &Path) -> Result<f64> {
    let file = scratch.join("sync.yaml");
    fs::write(&file, config).context("cannot write the configuration")?;
    let log = fs::File::create(scratch.join("sync.log")).context("cannot write a log")?;
    let mut sync = Command::new(programs.mirror());
    sync.arg("sync").arg("--config").arg(&file).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    peak::of(sync.spawn().context("cannot start granary-mirror")?)
}

/// A mirror that takes in the giant and the corpus while clients download all NARs that it has, again and again.
fn serving(
    corpus: &Corpus,
    programs: &Programs,
    upstream: &PlainNginx,
    giant: &Giant,
    windows: f64,
    scratch: &Path,
) -> Result<Row> {
    let (state, port) = (scratch.join("serving"), free_port()?);
    let tree = state.join("tree");
    let mut roots: Vec<&str> = corpus.roots.iter().map(String::as_str).collect();
    roots.push(&giant.path);
    let upstreams = [giant.upstream(), (upstream.url(), corpus.key.as_str())];
    let mirror = Mirror::start(&programs.mirror(), &config(&tree, &upstreams, &roots, port), &state)?;
    measure::wait_for_port(port, Duration::from_secs(20))?;
    let list = state.join("list");
    fs::write(&list, requests(&corpus.cache("xz"), port)?).context("cannot write the list of requests")?;
    let mut rounds = 0;
    let deadline = Instant::now() + Duration::from_mins(10);
    while published(&tree) <= corpus.paths.len() || rounds < 2 {
        ensure!(Instant::now() < deadline, "the mirror has {} artifacts after 10 minutes", published(&tree));
        download(&list)?;
        rounds += 1;
        std::thread::sleep(LOOK);
    }
    let peak = peak::bytes(mirror.pid()).context("the mirror has ended")?;
    let figure = format!("sync of that and the NAR as {}, {CLIENTS} clients downloading", giant.compression);
    Ok(row(&figure, peak, windows, &format!("; each of the {CLIENTS} connections was used {rounds} times")))
}

/// Every NAR of the cache, from the mirror; some are there and some are not yet.
fn requests(cache: &Path, port: u16) -> Result<String> {
    let mut list = Vec::new();
    for entry in fs::read_dir(cache.join("nar")).context("cannot list the corpus")? {
        let name = entry?.file_name();
        let url = format!("http://127.0.0.1:{port}/nar/{}", name.to_string_lossy());
        list.push(format!("url = \"{url}\"\noutput = \"/dev/null\"\n"));
    }
    Ok(list.concat())
}

fn download(list: &Path) -> Result<()> {
    let clients = CLIENTS.to_string();
    let child: std::io::Result<Child> = Command::new("curl")
        .args(["--silent", "--parallel", "--parallel-immediate", "--parallel-max", &clients, "--config"])
        .arg(list)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    // What is not there yet is an answer too.
    child.context("cannot start curl")?.wait().context("cannot wait for curl")?;
    Ok(())
}
