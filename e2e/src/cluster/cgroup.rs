//! The cgroups that hold a node's pods, on cgroup v1 (one tree for each controller) and v2 (one tree).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result};

const ROOT: &str = "/sys/fs/cgroup";
const PREFIX: &str = "granary-";
const PATIENCE: Duration = Duration::from_mins(1);

/// The name of a node's cgroup below each root: what the kubelet gets as `cgroupRoot`, without the slash.
#[must_use]
pub fn name(run: &str, node: &str) -> String {
    format!("{PREFIX}{run}-{node}")
}

/// Creates the node's cgroup in every tree.
pub fn create(run: &str, node: &str) -> Result<()> {
    let name = name(run, node);
    for root in trees().into_iter().filter(|root| !is_unified_beside_v1(root)) {
        let group = root.join(&name);
        fs::create_dir_all(&group).with_context(|| format!("cannot create {}", group.display()))?;
        // A new v1 cpuset is empty, and no process can enter an empty one.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if is_v2(&root) {
                continue;
            }
            if let Ok(all) = fs::read(root.join(file)) {
                fs::write(group.join(file), all).with_context(|| format!("cannot write {file} of {name}"))?;
            }
        }
        if is_v2(&root) {
            delegate(&root)?;
            delegate(&group)?;
        }
    }
    Ok(())
}

/// The processes in the node's cgroup and below: those of its pods.
#[must_use]
pub fn processes(run: &str, node: &str) -> Vec<i32> {
    let name = name(run, node);
    let mut found = Vec::new();
    for root in trees() {
        for group in below(&root.join(&name)) {
            let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            // A process of another pid namespace shows as 0.
            found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0));
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The names of all runs that have a cgroup, alive or not.
pub fn runs() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for root in trees() {
        for entry in fs::read_dir(&root).with_context(|| format!("cannot list {}", root.display()))?.flatten()
        {
            let file = entry.file_name();
            if let Some(run) = file.to_str().and_then(run_of) {
                names.push(run.to_owned());
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Removes all cgroups of a run, deepest first. A group stays busy for a moment after its last process has died.
pub fn remove(run: &str) -> Result<()> {
    for root in trees() {
        for entry in fs::read_dir(&root).with_context(|| format!("cannot list {}", root.display()))?.flatten()
        {
            if entry.file_name().to_str().and_then(run_of) != Some(run) {
                continue;
            }
            for group in below(&entry.path()) {
                remove_group(&group)?;
            }
        }
    }
    Ok(())
}

fn remove_group(group: &Path) -> Result<()> {
    let start = Instant::now();
    loop {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("cannot remove {}", group.display()));
            }
            Err(_) => thread::sleep(Duration::from_millis(20)),
            Ok(()) => return Ok(()),
        }
    }
}

/// The run in `granary-<run>-<node>`.
fn run_of(file: &str) -> Option<&str> {
    let (run, _node) = file.strip_prefix(PREFIX)?.split_once('-')?;
    run.bytes().all(|byte| byte.is_ascii_digit()).then_some(run)
}

/// The roots of the trees: the one of v2, or each controller's of v1.
fn trees() -> Vec<PathBuf> {
    let root = PathBuf::from(ROOT);
    if is_v2(&root) {
        return vec![root];
    }
    let entries = fs::read_dir(&root).into_iter().flatten().flatten();
    // `cpu` and `cpuacct` are often two names of one tree: links are left out.
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn is_v2(tree: &Path) -> bool {
    tree.join("cgroup.controllers").exists()
}

/// A hybrid host shows v2 as one more folder beside the controllers; nothing runs there.
fn is_unified_beside_v1(tree: &Path) -> bool {
    is_v2(tree) && tree != Path::new(ROOT)
}

/// Lets the groups below a v2 group use every controller that it has.
fn delegate(group: &Path) -> Result<()> {
    let all = fs::read_to_string(group.join("cgroup.controllers")).context("cannot read the controllers")?;
    for controller in all.split_whitespace() {
        let file = group.join("cgroup.subtree_control");
        fs::write(&file, format!("+{controller}"))
            .with_context(|| format!("cannot enable {controller} in {}", file.display()))?;
    }
    Ok(())
}

/// The group and all below it, deepest first; nothing when it does not exist.
fn below(group: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(group) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = folders.flat_map(|entry| below(&entry.path())).collect();
    all.push(group.to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_runs_are_taken_for_runs() {
        assert_eq!(run_of(&name("4711", "n1")), Some("4711"));
        assert_eq!(run_of("granary-mirror-1"), None);
        assert_eq!(run_of("granary-4711"), None);
        assert_eq!(run_of("kubepods"), None);
    }

    #[test]
    fn a_group_comes_after_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        let all = below(&dir.path().join("a"));
        assert_eq!(all, [deep, dir.path().join("a/b"), dir.path().join("a")]);
    }
}
