//! `cargo xtask bench [NAME]`: Granary beside the real alternative in one run, alternating rounds, reported as ratios.

mod corpus;
mod front;
mod measure;
mod memory;
mod mirror;
mod ncps;
mod peak;
mod server;
mod start;
mod sync;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, Session};
use crate::{cargo, corpus as corpora};
use corpus::Corpus;

/// The benchmarks, by name.
const NAMES: [&str; 4] = ["front", "sync", "memory", "start"];

/// `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Options {
    /// One of the benchmarks, `front`, `sync`, `memory` or `start`; all of them when absent.
    name: Option<String>,
    /// On the corpus of the tests, 40 packages or more, instead of the 280 that take some minutes to make at first.
    #[arg(long)]
    small: bool,
}

/// `cargo xtask bench [NAME]`: one benchmark, or all of them.
pub fn command(session: &Session, options: &Options) -> Result<ExitCode> {
    let Options { name, small } = options;
    if let Some(name) = name
        && !NAMES.contains(&name.as_str())
    {
        bail!("there is no benchmark `{name}`: name one of {}, or none for all", NAMES.join(", "));
    }
    let corpus = if *small { &corpora::SMALL } else { &corpora::LARGE };
    let corpus = Corpus::open(&setup::benchmarks(session, corpus)?)?;
    cargo::benchmarks(session)?;
    let release = cargo::release(session);
    let target = release.parent().context("the release folder has no parent")?;
    let scratch = target.join("bench").join("scratch");
    let programs = Programs { release: release.clone() };
    for known in NAMES.into_iter().filter(|known| name.as_ref().is_none_or(|name| name == known)) {
        println!("bench {known}");
        let folder = empty(&scratch.join(known))?;
        let rows = match known {
            "front" => front::rows(&corpus, &programs.mirror(), &folder)?,
            "sync" => sync::rows(&corpus, &programs, &folder)?,
            "memory" => memory::rows(&corpus, &programs, *small, &folder)?,
            _ => start::rows(&programs, *small, &folder)?,
        };
        table::publish(known, &rows, target)?;
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What is measured, and the small programs that help.
struct Programs {
    release: PathBuf,
}

impl Programs {
    fn mirror(&self) -> PathBuf {
        self.release.join("granary-mirror")
    }

    fn example(&self, name: &str) -> PathBuf {
        self.release.join("examples").join(name)
    }
}

/// Makes a folder anew, without what an interrupted run left in it.
fn empty(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder.to_path_buf())
}
