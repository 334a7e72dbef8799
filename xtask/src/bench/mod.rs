//! `cargo xtask bench [NAME]`: Granary beside the real alternative in one run, alternating rounds, reported as ratios.

mod corpus;
mod front;
mod measure;
mod server;
mod sync;
mod table;

use std::path::Path;

use anyhow::{Result, bail};

pub use corpus::Corpus;

/// The benchmarks, by name.
pub const NAMES: [&str; 2] = ["front", "sync"];

/// Runs one benchmark, or all of them, with the binary `mirror`. `scratch` is an empty folder; the rows go below `target`.
pub fn run(name: Option<&str>, corpus: &Corpus, mirror: &Path, scratch: &Path, target: &Path) -> Result<()> {
    if let Some(name) = name
        && !NAMES.contains(&name)
    {
        bail!("there is no benchmark `{name}`: name one of {}, or none for all", NAMES.join(", "));
    }
    for known in NAMES.into_iter().filter(|known| name.is_none_or(|name| name == *known)) {
        println!("bench {known}");
        let folder = scratch.join(known);
        std::fs::create_dir_all(&folder)?;
        let rows = match known {
            "front" => front::rows(corpus, mirror, &folder)?,
            _ => sync::rows(corpus, mirror, &folder)?,
        };
        table::publish(known, &rows, target)?;
    }
    Ok(())
}
