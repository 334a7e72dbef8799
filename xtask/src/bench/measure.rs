//! Processor time of processes, from `/proc` (proc(5)): steadier than wall time on a machine shared with others.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Ticks a second in `/proc/*/stat`; Linux fixes `USER_HZ` at 100 for user space on every architecture that we build for.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// User and system time of the process and all that it waited for, in seconds.
    pub cpu: f64,
    /// Wall time, in seconds.
    pub wall: f64,
}

impl Cost {
    /// The middle between two.
    pub fn mean(one: Self, other: Self) -> Self {
        Self { cpu: f64::midpoint(one.cpu, other.cpu), wall: f64::midpoint(one.wall, other.wall) }
    }
}

/// Runs a command to its end and measures it. Fails, with the command's own words, when it exits non-zero.
///
/// What was written before goes to the disk first: the one side makes what it writes last, by syncing the filesystem, and
/// would pay for what the other side, which does not, has left in memory.
pub fn run(command: &mut Command) -> Result<Cost> {
    let what = format!("{command:?}");
    nix::unistd::sync();
    let before = children_seconds()?;
    let start = Instant::now();
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(std::process::Child::wait_with_output)
        .with_context(|| format!("cannot run {what}"))?;
    let wall = start.elapsed().as_secs_f64();
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{what} failed with {}:\n{}", output.status, words.trim_end());
    }
    Ok(Cost { cpu: children_seconds()? - before, wall })
}

/// Processor seconds so far of a process and every living descendant of it.
pub fn tree_seconds(root: u32) -> Result<f64> {
    let stats = all_stats()?;
    Ok(stats
        .values()
        .filter(|stat| is_below(stat.pid, root, &stats))
        .map(|stat| stat.ticks / TICKS_PER_SECOND)
        .sum())
}

/// Whether a process is `root` or a living descendant of it.
pub fn tree_has(root: u32, pid: u32) -> Result<bool> {
    Ok(is_below(pid, root, &all_stats()?))
}

/// Waits until something listens on the port, or fails after `limit`.
pub fn wait_for_port(port: u16, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            bail!("nothing listens on port {port} after {} s", limit.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

#[derive(Debug)]
struct Stat {
    pid: u32,
    parent: u32,
    ticks: f64,
    waited_ticks: f64,
}

fn children_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("cannot read /proc/self/stat")?;
    let stat = parse(&text).context("/proc/self/stat has not the form of proc(5)")?;
    Ok(stat.waited_ticks / TICKS_PER_SECOND)
}

fn all_stats() -> Result<BTreeMap<u32, Stat>> {
    let folder = fs::read_dir("/proc").context("cannot read /proc")?;
    Ok(folder
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path().join("stat")).ok())
        .filter_map(|text| parse(&text))
        .map(|stat| (stat.pid, stat))
        .collect())
}

fn is_below(pid: u32, root: u32, stats: &BTreeMap<u32, Stat>) -> bool {
    let mut at = pid;
    while at != root {
        match stats.get(&at) {
            Some(stat) if stat.parent != 0 && stat.parent != at => at = stat.parent,
            _ => return false,
        }
    }
    true
}

/// One line of `/proc/PID/stat`. The name, in parentheses, may hold spaces and parentheses, so fields count from the last one.
fn parse(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Stat {
        pid,
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        waited_ticks: number(13)? + number(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "4242 (tmux: (a) b) S 17 4242 4242 0 -1 4194304 10 20 0 0 150 50 300 100 20 0 1 0 1 2 3";

    #[test]
    fn a_stat_line_with_parentheses_in_the_name_is_read() {
        let stat = parse(LINE).unwrap();
        assert_eq!((stat.pid, stat.parent), (4242, 17));
        assert!((stat.ticks - 200.0).abs() < 1e-9);
        assert!((stat.waited_ticks - 400.0).abs() < 1e-9);
        assert!(parse("garbage").is_none());
    }

    #[test]
    fn a_busy_child_is_charged() {
        let cost = run(Command::new("sh").args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]))
            .unwrap();
        assert!(cost.cpu > 0.0 && cost.cpu <= cost.wall * 8.0, "{cost:?}");
    }

    #[test]
    fn a_failing_command_is_told_in_its_own_words() {
        let error = run(Command::new("sh").args(["-c", "echo no such cache >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("no such cache"), "{error}");
    }

    #[test]
    fn descendants_are_counted_and_strangers_are_not() {
        let stats: BTreeMap<u32, Stat> = [(1, 0), (10, 1), (11, 10), (20, 1)]
            .map(|(pid, parent)| (pid, Stat { pid, parent, ticks: 1.0, waited_ticks: 0.0 }))
            .into();
        assert!(is_below(11, 10, &stats) && is_below(10, 10, &stats));
        assert!(!is_below(20, 10, &stats) && !is_below(1, 10, &stats));
    }
}
