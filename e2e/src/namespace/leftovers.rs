//! What namespaces leave behind: cgroups and the run's folder.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::cluster::cgroup;
use crate::paths;

/// Removes the cgroups and folders of runs whose supervisor is gone. Those of living runs stay.
pub fn remove_leftovers() -> Result<()> {
    let mut names: Vec<String> = cgroup::runs()?;
    let runs = paths::cache()?.join("run");
    if let Ok(entries) = fs::read_dir(&runs) {
        names.extend(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()));
    }
    names.sort_unstable();
    names.dedup();
    for name in names.iter().filter(|name| !alive(name)) {
        remove_run(name)?;
    }
    Ok(())
}

/// Removes one run's cgroups and its folder. Its logs are kept as `log` beside the runs, in place of the run's before.
pub fn remove_run(name: &str) -> Result<()> {
    cgroup::remove(name)?;
    let cache = paths::cache()?;
    let dir = cache.join("run").join(name);
    let logs = dir.join("log");
    if logs.is_dir() {
        let kept = cache.join("log");
        remove_dir(&kept)?;
        fs::rename(&logs, &kept).with_context(|| format!("cannot move the logs to {}", kept.display()))?;
    }
    remove_dir(&dir)
}

/// A name is its supervisor's process id. Another process that has got the same id since only delays the removal.
fn alive(name: &str) -> bool {
    Path::new("/proc").join(name).is_dir()
}

fn remove_dir(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}
