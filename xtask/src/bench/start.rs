//! `cargo xtask bench start`: a mirror with a million artifacts on its disk is started: how soon it serves and is ready,
//! what memory it takes, and what it costs when there is nothing to do.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::mirror::{LOOK, Mirror, get};
use super::peak::{self, MIB};
use super::server::free_port;
use super::table::Row;
use super::{Programs, measure};

/// The goal for readiness, in seconds.
const READY: f64 = 30.0;

/// Seconds until the first answer that are "at once": nginx starts within them.
const AT_ONCE: f64 = 2.0;

/// How long an idle mirror is looked at.
const IDLE: Duration = Duration::from_mins(1);

/// The goal for the memory of a mirror that has nothing to do, in MiB.
const AT_REST: f64 = 512.0;

/// The goal for its memory while it looks at all that it has, in MiB.
const IN_A_PASS: f64 = 1024.0;

/// CPU seconds a minute that are "near zero": one percent of a core.
const IDLE_COST: f64 = 0.6;

/// Starts a mirror over a tree that another program made, three times: without an index, with one, and to look at it idle.
pub fn rows(programs: &Programs, small: bool, scratch: &Path) -> Result<Vec<Row>> {
    let artifacts: usize = if small { 50_000 } else { 1_000_000 };
    println!("  a tree with {artifacts} artifacts is made");
    let tree = scratch.join("tree");
    let output = Command::new(programs.example("full_tree"))
        .arg(&tree)
        .arg(artifacts.to_string())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start full_tree")?;
    ensure!(output.status.success(), "full_tree ended with {}", output.status);
    let words = String::from_utf8(output.stdout).context("full_tree's words")?;
    let (root, key) = words.trim().split_once('\n').context("full_tree printed no key")?;
    let hash = root.rsplit('/').next().and_then(|base| base.get(..32)).context("a store path")?;

    let mut rows = Vec::new();
    for time in ["for the first time", "again"] {
        println!("  started {time}");
        let port = free_port()?;
        let config = format!(
            "directory: {}\nupstreams:\n- url: http://127.0.0.1:9\n  publicKeys: [\"{key}\"]\nstorePaths: [{root}]\nlisten: {{http: \"127.0.0.1:{port}\", agent: \"127.0.0.1:{}\"}}\n",
            tree.display(),
            port + 1
        );
        let began = Instant::now();
        let mirror = Mirror::start(&programs.mirror(), &config, &scratch.join("state"))?;
        let serving = until(began, 600.0, || {
            get(port, &format!("/{hash}.narinfo"))
                .is_some_and(|(status, body)| status == 200 && body.contains(root))
        })?;
        let ready =
            until(began, 600.0, || get(port + 1, "/readyz").is_some_and(|(status, _)| status == 200))?;
        let opened = peak::bytes(mirror.pid()).context("the mirror has ended")? / MIB;
        rows.push(Row {
            figure: format!(
                "{artifacts} artifacts on disk, started {time}: 2 s, against the first narinfo served"
            ),
            ratio: AT_ONCE / serving,
            goal: Some(1.0),
            detail: format!("{serving:.2} s wall"),
        });
        rows.push(Row {
            figure: format!("{artifacts} artifacts on disk, started {time}: 30 s, against ready"),
            ratio: READY / ready,
            goal: Some(1.0),
            detail: format!("{ready:.2} s wall, {opened:.0} MiB"),
        });
        let passed = until(began, 1800.0, || has_passed(port + 1, artifacts))?;
        let used = measure::tree_seconds(mirror.pid())?;
        let peak = peak::bytes(mirror.pid()).context("the mirror has ended")? / MIB;
        println!(
            "  the first pass ended after {passed:.1} s, with {used:.1} s CPU and {peak:.0} MiB at most"
        );
        if time == "again" {
            // The pass after the first one may still put something away.
            std::thread::sleep(IDLE);
            let before = measure::tree_seconds(mirror.pid())?;
            std::thread::sleep(IDLE);
            let idle = measure::tree_seconds(mirror.pid())? - before;
            rows.push(Row {
                figure: format!("{artifacts} artifacts, nothing to do: 1 % of a core, against what is used"),
                ratio: IDLE_COST / idle.max(0.01),
                goal: Some(1.0),
                detail: format!("{idle:.2} CPU seconds a minute, after a pass of {passed:.0} s"),
            });
            let rest = peak::now(mirror.pid()).context("the mirror has ended")? / MIB;
            rows.push(Row {
                figure: format!(
                    "{artifacts} artifacts, nothing to do: 512 MiB, against the memory that it takes"
                ),
                ratio: AT_REST / rest,
                goal: Some(1.0),
                detail: format!("{rest:.0} MiB"),
            });
            rows.push(Row {
                figure: format!(
                    "{artifacts} artifacts, a pass over all: 1 GiB, against the memory that it takes at most"
                ),
                ratio: IN_A_PASS / peak,
                goal: Some(1.0),
                detail: format!("{peak:.0} MiB"),
            });
        }
    }
    Ok(rows)
}

/// Seconds since `began` when `what` came true.
fn until(began: Instant, limit: f64, what: impl Fn() -> bool) -> Result<f64> {
    loop {
        let seconds = began.elapsed().as_secs_f64();
        if what() {
            return Ok(seconds);
        }
        ensure!(seconds < limit, "not so after {limit} s; see the log in the scratch folder");
        std::thread::sleep(LOOK);
    }
}

/// Whether a pass has ended with everything in its place.
fn has_passed(agent: u16, artifacts: usize) -> bool {
    let Some((200, body)) = get(agent, "/granary/v1/report") else { return false };
    let Ok(report) = serde_json::from_str::<serde_json::Value>(&body) else { return false };
    report["policies"][0]["synced"] == true && report["policies"][0]["verified"] == artifacts
}
