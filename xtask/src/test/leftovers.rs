//! After the cluster tests: no process, mount, control group or folder of a cluster whose run is over.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use crate::test::Context;
use crate::test::counts::Counts;

/// Set in every process of a cluster to the name of its run, which is the process id of the run's supervisor.
const RUN: &str = "GRANARY_IN_NAMESPACE=";

/// Fails with what is left. A cluster that `demo --keep` left up on purpose has a supervisor and is not counted.
pub fn check(context: &Context) -> Result<Counts> {
    let alive = |run: &str| Path::new("/proc").join(run).is_dir();
    let runs = context.session.cache.root().join("run");
    let mut left = control_groups(Path::new("/sys/fs/cgroup"), &alive);
    left.extend(folders(&runs, &alive));
    left.extend(processes(&alive));
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    left.extend(mounted_below(&mounts, &runs.to_string_lossy()));
    if !left.is_empty() {
        bail!("left behind by a cluster that is gone:\n  {}", left.join("\n  "));
    }
    context.session.tell.say("nothing of a cluster is left: processes, mounts, control groups, folders");
    Ok(Counts::one(true))
}

/// `granary-<run>-<node>` in each hierarchy, or in the one of version 2.
fn control_groups(root: &Path, alive: &dyn Fn(&str) -> bool) -> Vec<String> {
    let hierarchies = children(root).into_iter().map(|name| root.join(name)).chain([root.to_path_buf()]);
    let groups = hierarchies.flat_map(|dir| {
        let named = children(&dir).into_iter().map(move |name| (dir.join(&name), name));
        named.collect::<Vec<_>>()
    });
    groups
        .filter(|(_, name)| {
            let run = name.strip_prefix("granary-").and_then(|rest| rest.split('-').next());
            run.is_some_and(|run| !alive(run))
        })
        .map(|(path, _)| format!("control group {}", path.display()))
        .collect()
}

fn folders(runs: &Path, alive: &dyn Fn(&str) -> bool) -> Vec<String> {
    let dead = children(runs).into_iter().filter(|run| !alive(run));
    dead.map(|run| format!("folder {}", runs.join(run).display())).collect()
}

fn processes(alive: &dyn Fn(&str) -> bool) -> Vec<String> {
    let pids =
        children(Path::new("/proc")).into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let dead = |pid: &String| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        run_of(&String::from_utf8_lossy(&environment)).is_some_and(|run| !alive(run))
    };
    let name = |pid: &String| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    pids.filter(dead).map(|pid| format!("process {pid} ({})", name(&pid).trim())).collect()
}

/// The run that a process belongs to, by its environment.
fn run_of(environment: &str) -> Option<&str> {
    environment.split('\0').find_map(|entry| entry.strip_prefix(RUN))
}

fn mounted_below(mounts: &str, folder: &str) -> Vec<String> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(1));
    places.filter(|place| place.starts_with(folder)).map(|place| format!("mount {place}")).collect()
}

fn children(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_belongs_to_dead_runs_counts() {
        let root = tempfile::tempdir().unwrap();
        for group in ["cpu/granary-12-n1", "cpu/granary-13-n1", "granary-12-n2", "cpu/system.slice"] {
            fs::create_dir_all(root.path().join(group)).unwrap();
        }
        let mut left = control_groups(root.path(), &|run| run == "13");
        left.sort();
        let at = |group: &str| format!("control group {}", root.path().join(group).display());
        assert_eq!(left, [at("cpu/granary-12-n1"), at("granary-12-n2")]);
        assert_eq!(folders(&root.path().join("cpu"), &|run| run != "granary-12-n1").len(), 1);
    }

    #[test]
    fn a_process_names_its_run() {
        assert_eq!(run_of("HOME=/\0GRANARY_IN_NAMESPACE=77\0PATH=x\0"), Some("77"));
        assert_eq!(run_of("HOME=/\0"), None);
    }

    #[test]
    fn mounts_are_found_by_their_place() {
        let mounts = "proc /proc proc rw 0 0\ntmpfs /c/run/1/x tmpfs rw 0 0\n";
        assert_eq!(mounted_below(mounts, "/c/run"), ["mount /c/run/1/x"]);
    }
}
