//! `cargo xtask bench front`: nginx as Granary sets it up, Mirrors line included, against a bare nginx over the same files.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use granary_placement::map::DEFAULT_WEIGHT;
use granary_placement::{CompiledMap, Mirror, MirrorMap, MirrorState, Policy};

use super::corpus::{Corpus, published};
use super::measure;
use super::server::{PlainNginx, free_port};
use super::table::{Row, median};

/// Rounds that count. In each, both servers get the same load, and the one that was second is first in the next.
const ROUNDS: usize = 9;
/// Seconds of load for each server in a round.
const SECONDS: u32 = 2;

/// One kind of request, and the share of bare nginx's rate that the design asks for.
struct Load {
    figure: &'static str,
    goal: f64,
    connections: u32,
    /// Paths that are asked for in turn.
    paths: Vec<String>,
    /// Whether each of them is there.
    there: bool,
    per: Per,
}

/// What processor time is counted by.
#[derive(Clone, Copy)]
enum Per {
    Request,
    /// Files differ in size, and a round ends in the middle of some.
    Gigabyte,
}

/// Measures narinfos, absent narinfos and NARs.
pub fn rows(corpus: &Corpus, mirror: &Path, scratch: &Path) -> Result<Vec<Row>> {
    println!("  {}", super::ncps::skipped());
    let tree = scratch.join("tree");
    let upstream = PlainNginx::start(&corpus.cache("xz"), &scratch.join("upstream"))?;
    let front = Front::start(corpus, mirror, &upstream, &tree, scratch)?;
    let nginx = front.nginx(&tree)?;
    let bare = PlainNginx::start(&tree, &scratch.join("bare"))?;
    loads(&tree)?
        .into_iter()
        .map(|load| {
            let script = scratch.join("paths.lua");
            fs::write(&script, lua(&load.paths)).context("cannot write the list of requests")?;
            println!("  {}, {ROUNDS} rounds", load.figure);
            let mut rounds = Vec::new();
            // The first one fills caches.
            for round in 0..=ROUNDS {
                let ours = || microseconds(&front.url, nginx, &load, &script);
                let theirs = || microseconds(&bare.url(), bare.pid(), &load, &script);
                rounds.push(if round % 2 == 0 {
                    let ours = ours()?;
                    (ours, theirs()?)
                } else {
                    let theirs = theirs()?;
                    (ours()?, theirs)
                });
            }
            Ok(row(&load, &rounds[1..]))
        })
        .collect()
}

/// The middle of the rounds' ratios: both halves of a round ran under the same conditions, whatever else the machine did.
fn row(load: &Load, rounds: &[(f64, f64)]) -> Row {
    let middle = |figure: fn(&(f64, f64)) -> f64| median(&rounds.iter().map(figure).collect::<Vec<_>>());
    let (ours, theirs) = (middle(|round| round.0), middle(|round| round.1));
    let detail = match load.per {
        Per::Request => format!("{ours:.1} µs CPU a request, bare nginx {theirs:.1} µs"),
        Per::Gigabyte => format!("{:.0} ms CPU a GiB, bare nginx {:.0} ms", ours / 1e3, theirs / 1e3),
    };
    Row {
        figure: load.figure.to_owned(),
        ratio: middle(|(ours, theirs)| theirs / ours),
        goal: Some(load.goal),
        detail,
    }
}

fn loads(tree: &Path) -> Result<Vec<Load>> {
    let names = |folder: &Path| -> Result<Vec<String>> {
        let listing = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        Ok(listing
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect())
    };
    let narinfos: Vec<String> = names(tree)?
        .into_iter()
        .filter(|name| name.ends_with(".narinfo"))
        .map(|name| format!("/{name}"))
        .collect();
    ensure!(!narinfos.is_empty(), "the mirror published no narinfo");
    let absent = narinfos.iter().map(|path| reversed(path)).collect();
    let nars = names(&tree.join("nar"))?.into_iter().map(|name| format!("/nar/{name}")).collect();
    let load =
        |figure, goal, connections, paths, there, per| Load { figure, goal, connections, paths, there, per };
    Ok(vec![
        load("narinfo GET with its Mirrors line", 1.0, 64, narinfos, true, Per::Request),
        load("404 for an absent narinfo", 1.0, 64, absent, false, Per::Request),
        load("NAR bytes", 0.98, 8, nars, true, Per::Gigabyte),
    ])
}

/// A hash part that no artifact has, of the same partition spread: the reverse of one that exists.
fn reversed(path: &str) -> String {
    let hash = path.trim_start_matches('/').trim_end_matches(".narinfo");
    format!("/{}.narinfo", hash.chars().rev().collect::<String>())
}

fn lua(paths: &[String]) -> String {
    let list = paths.iter().map(|path| format!("\"{path}\"")).collect::<Vec<_>>().join(",\n");
    format!(
        "local paths = {{\n{list}\n}}\nlocal at = 0\nrequest = function()\n  at = at % #paths + 1\n  return wrk.format(\"GET\", paths[at], {{[\"User-Agent\"] = \"curl/8 Nix/2.34\"}})\nend\n"
    )
}

/// Processor time of all processes of a server, by what the load counts.
fn microseconds(url: &str, server: u32, load: &Load, script: &Path) -> Result<f64> {
    let before = measure::tree_seconds(server)?;
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{}", load.connections), &format!("-d{SECONDS}s"), "-s"])
        .arg(script)
        .arg(url)
        .stdin(Stdio::null())
        .output()
        .context("cannot run wrk")?;
    let spent = measure::tree_seconds(server)? - before;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("wrk failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    let Done { requests, bytes, refused } =
        done(&text).with_context(|| format!("wrk printed no counts:\n{text}"))?;
    ensure!(requests > 0, "wrk got no answer from {url}");
    ensure!(
        refused == if load.there { 0 } else { requests },
        "{refused} of {requests} answers of {url} were errors: {}",
        load.figure
    );
    Ok(match load.per {
        Per::Request => spent * 1e6 / f64::from(requests),
        Per::Gigabyte => spent * 1e6 / (bytes / f64::from(1_u32 << 30)),
    })
}

/// What wrk counted.
#[derive(Debug, PartialEq)]
struct Done {
    requests: u32,
    bytes: f64,
    /// Answers that are no success.
    refused: u32,
}

/// From the line `  123456 requests in 3.00s, 45.67MB read` and, if there is one, `  Non-2xx or 3xx responses: 7`.
fn done(text: &str) -> Option<Done> {
    let (requests, rest) = text.lines().find_map(|line| line.trim().split_once(" requests in "))?;
    let read = rest.split_once(", ")?.1.strip_suffix(" read")?;
    let digits = read.find(|c: char| c.is_ascii_alphabetic())?;
    let unit = match &read[digits..] {
        "B" => 0,
        "KB" => 10,
        "MB" => 20,
        "GB" => 30,
        "TB" => 40,
        _ => return None,
    };
    let bytes = read[..digits].parse::<f64>().ok()? * 2_f64.powi(unit);
    let refused = text.lines().find_map(|line| line.trim().strip_prefix("Non-2xx or 3xx responses: "));
    Some(Done {
        requests: requests.parse().ok()?,
        bytes,
        refused: refused.map_or(Some(0), |count| count.parse().ok())?,
    })
}

/// A running `granary-mirror run`, ended with this value.
struct Front {
    child: Child,
    url: String,
}

impl Front {
    fn start(
        corpus: &Corpus,
        mirror: &Path,
        upstream: &PlainNginx,
        tree: &Path,
        scratch: &Path,
    ) -> Result<Self> {
        let port = free_port()?;
        let map = scratch.join("map.json");
        fs::write(&map, three_mirrors(corpus)?.map().to_json()).context("cannot write the mirror map")?;
        let config = scratch.join("mirror.yaml");
        let lan = corpus.lan_config(tree, &upstream.url(), port);
        // In the cluster the policy comes with the map, so the roots of the file go.
        let (head, rest) =
            lan.split_once("storePaths:\n").context("the configuration names no store paths")?;
        let listen = rest
            .lines()
            .find(|line| line.starts_with("listen:"))
            .context("the configuration has no listen")?;
        fs::write(&config, format!("name: north-0\n{head}map: {{file: {}}}\n{listen}\n", map.display()))?;
        let log = fs::File::create(scratch.join("mirror.log")).context("cannot write the mirror's log")?;
        let child = Command::new(mirror)
            .arg("run")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log)
            .spawn()
            .context("cannot start granary-mirror")?;
        let front = Self { child, url: format!("http://127.0.0.1:{port}") };
        measure::wait_for_port(port, Duration::from_secs(20))?;
        wait_until_full(tree, corpus.paths.len())?;
        Ok(front)
    }

    /// The master process of its nginx. The agent beside it does not serve.
    fn nginx(&self, tree: &Path) -> Result<u32> {
        let file = tree.join(".granary/front/nginx.pid");
        let text = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let master = text.trim().parse().with_context(|| format!("{} holds no pid", file.display()))?;
        ensure!(measure::tree_has(self.child.id(), master)?, "nginx {master} is not that of the mirror");
        Ok(master)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        if nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).is_ok() {
            let _ = self.child.wait();
        }
    }
}

fn wait_until_full(tree: &Path, artifacts: usize) -> Result<()> {
    let deadline = std::time::Instant::now() + Duration::from_mins(2);
    loop {
        let held = published(tree);
        if held == artifacts {
            return Ok(());
        }
        ensure!(
            std::time::Instant::now() < deadline,
            "the mirror has {held} of {artifacts} artifacts after 2 minutes"
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Three mirrors that each hold everything, so that every narinfo names the other two.
fn three_mirrors(corpus: &Corpus) -> Result<CompiledMap> {
    let mirror = |name: &str| -> Result<Mirror> {
        Ok(Mirror {
            name: name.parse().context("a mirror's name")?,
            disk: None,
            node: None,
            region: None,
            zone: Some(format!("zone-{name}")),
            organization: None,
            weight: DEFAULT_WEIGHT,
            url: Some(format!("https://{name}.cache.example.org")),
            internal_url: "http://127.0.0.1:9".to_owned(),
            state: MirrorState::Serving,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_read_from_wrk() {
        let text =
            "Running 3s test\n  1 threads and 64 connections\n  212345 requests in 3.00s, 1.50KB read\n";
        assert_eq!(done(text), Some(Done { requests: 212_345, bytes: 1536.0, refused: 0 }));
        let text = format!("{text}  Non-2xx or 3xx responses: 7\n");
        assert_eq!(done(&text), Some(Done { requests: 212_345, bytes: 1536.0, refused: 7 }));
        assert_eq!(done("unable to connect"), None);
    }

    #[test]
    fn a_round_is_compared_with_itself() {
        let load = Load {
            figure: "NAR bytes",
            goal: 0.98,
            connections: 1,
            paths: Vec::new(),
            there: true,
            per: Per::Gigabyte,
        };
        // The machine was three times as slow in the second round, for both.
        let row = row(&load, &[(100.0, 110.0), (300.0, 330.0), (200.0, 100.0)]);
        assert!((row.ratio - 1.1).abs() < 1e-9, "{row:?}");
    }

    #[test]
    fn an_absent_path_is_still_a_narinfo_path() {
        assert_eq!(reversed("/abc0.narinfo"), "/0cba.narinfo");
    }
}
