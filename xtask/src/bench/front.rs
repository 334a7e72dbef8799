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

/// Rounds, alternating between the two servers.
const ROUNDS: usize = 5;
/// Seconds of load in a round.
const SECONDS: u32 = 3;

/// One kind of request, and the share of bare nginx's rate that the design asks for.
struct Load {
    figure: &'static str,
    goal: f64,
    connections: u32,
    /// Paths that are asked for in turn.
    paths: Vec<String>,
}

/// Measures narinfos, absent narinfos and NARs.
pub fn rows(corpus: &Corpus, mirror: &Path, scratch: &Path) -> Result<Vec<Row>> {
    let tree = scratch.join("tree");
    let upstream = PlainNginx::start(&corpus.cache("xz"), &scratch.join("upstream"))?;
    let front = Front::start(corpus, mirror, &upstream, &tree, scratch)?;
    let bare = PlainNginx::start(&tree, &scratch.join("bare"))?;
    let mut rows = Vec::new();
    for load in loads(&tree)? {
        let script = scratch.join("paths.lua");
        fs::write(&script, lua(&load.paths)).context("cannot write the list of requests")?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            println!("  {}, round {} of {ROUNDS}", load.figure, round + 1);
            theirs.push(microseconds_a_request(&bare.url(), bare.pid(), &load, &script)?);
            ours.push(microseconds_a_request(&front.url, front.child.id(), &load, &script)?);
        }
        let (ours, theirs) = (median(&ours), median(&theirs));
        rows.push(Row {
            figure: load.figure.to_owned(),
            ratio: theirs / ours,
            goal: Some(load.goal),
            detail: format!("{ours:.1} µs CPU a request, bare nginx {theirs:.1} µs"),
        });
    }
    Ok(rows)
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
    Ok(vec![
        Load { figure: "narinfo GET with its Mirrors line", goal: 1.0, connections: 64, paths: narinfos },
        Load { figure: "404 for an absent narinfo", goal: 1.0, connections: 64, paths: absent },
        Load { figure: "NAR", goal: 0.98, connections: 8, paths: nars },
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

fn microseconds_a_request(url: &str, server: u32, load: &Load, script: &Path) -> Result<f64> {
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
    let requests = requests(&text).with_context(|| format!("wrk printed no count of requests:\n{text}"))?;
    ensure!(requests > 0.0, "wrk got no answer from {url}");
    Ok(spent * 1e6 / requests)
}

/// The count in wrk's line `  123456 requests in 3.00s, 45.67MB read`.
fn requests(text: &str) -> Option<f64> {
    text.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok())
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
    fn the_count_of_requests_is_read_from_wrk() {
        let text =
            "Running 3s test\n  1 threads and 64 connections\n  212345 requests in 3.00s, 45.67MB read\n";
        assert_eq!(requests(text), Some(212_345.0));
        assert_eq!(requests("unable to connect"), None);
    }

    #[test]
    fn an_absent_path_is_still_a_narinfo_path() {
        assert_eq!(reversed("/abc0.narinfo"), "/0cba.narinfo");
    }
}
