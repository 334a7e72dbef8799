//! `cargo xtask bench [NAME]`: Granary beside the real alternative in one run, alternating rounds, reported as ratios.

mod corpus;
mod front;
mod measure;
mod server;
mod sync;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::cargo;
use crate::setup::{self, Session};
use corpus::Corpus;

/// The benchmarks, by name.
const NAMES: [&str; 2] = ["front", "sync"];

/// `cargo xtask bench [NAME]`: one benchmark, or all of them.
pub fn command(session: &Session, name: Option<&str>) -> Result<ExitCode> {
    if let Some(name) = name
        && !NAMES.contains(&name)
    {
        bail!("there is no benchmark `{name}`: name one of {}, or none for all", NAMES.join(", "));
    }
    let ready = setup::everything(session, false)?;
    cargo::programs(session)?;
    let corpus = Corpus::open(&ready.corpus)?;
    let release = cargo::release(session);
    let target = release.parent().context("the release folder has no parent")?;
    let scratch = target.join("bench").join("scratch");
    for known in NAMES.into_iter().filter(|known| name.is_none_or(|name| name == *known)) {
        println!("bench {known}");
        let folder = empty(&scratch.join(known))?;
        let mirror = release.join("granary-mirror");
        let rows = match known {
            "front" => front::rows(&corpus, &mirror, &folder)?,
            _ => sync::rows(&corpus, &mirror, &folder)?,
        };
        table::publish(known, &rows, target)?;
    }
    std::fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a folder anew, without what an interrupted run left in it.
fn empty(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.to_path_buf())
}
