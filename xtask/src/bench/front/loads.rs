//! What is asked for.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{Load, Per};

/// Every kind, over what is in the tree.
pub(super) fn all(tree: &Path) -> Result<Vec<Load>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_path_is_still_a_narinfo_path() {
        assert_eq!(reversed("/abc0.narinfo"), "/0cba.narinfo");
    }
}
