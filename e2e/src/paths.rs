//! Where built programs, images and caches are, as the environment says.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// The folder of the cluster's programs (`GRANARY_BIN`).
pub fn bin() -> Result<PathBuf> {
    existing("GRANARY_BIN")
}

/// The folder of the image tars (`GRANARY_IMAGES`).
pub fn images() -> Result<PathBuf> {
    existing("GRANARY_IMAGES")
}

/// The folder of the signed binary caches that serve as upstreams (`GRANARY_CORPUS`).
pub fn corpus() -> Result<PathBuf> {
    existing("GRANARY_CORPUS")
}

/// The folder for what is kept between runs: `GRANARY_CACHE`, else `$XDG_CACHE_HOME/granary`, else `~/.cache/granary`.
pub fn cache() -> Result<PathBuf> {
    if let Some(folder) = env::var_os("GRANARY_CACHE") {
        return Ok(folder.into());
    }
    if let Some(folder) = env::var_os("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(folder).join("granary"));
    }
    let home = env::var_os("HOME").context("neither GRANARY_CACHE, XDG_CACHE_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/granary"))
}

/// The root of the repository, where the charts are.
#[must_use]
pub fn repository() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    package.parent().map_or(package.clone(), Into::into)
}

fn existing(variable: &str) -> Result<PathBuf> {
    let value =
        env::var_os(variable).with_context(|| format!("{variable} is not set: run cargo xtask test"))?;
    let path = PathBuf::from(value);
    if !path.is_dir() {
        bail!("{variable} is {}, which is not a folder: run cargo xtask test", path.display());
    }
    Ok(path)
}
