//! Checkers that are programs of other projects, installed by Cargo into the cache.

use std::path::PathBuf;

use anyhow::Result;

use crate::cargo;
use crate::job;
use crate::key::Key;
use crate::setup::Session;

/// A program from the package registry, pinned.
pub struct Tool {
    /// Package and program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// Compares `deny.toml` with the dependencies.
pub const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2" };

/// Makes the book.
pub const MDBOOK: Tool = Tool { name: "mdbook", version: "0.5.4" };

/// Runs the fuzz targets.
pub const FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2" };

/// The program, installed when it is not there yet.
pub fn get(session: &Session, tool: &Tool) -> Result<PathBuf> {
    let Tool { name, version } = tool;
    let kind = format!("tool-{name}");
    let key = Key::new(&kind, 1).text("version", version).finish();
    let lock = session.cache.lock(&session.tell)?;
    let place = session.cache.entry(&lock, &kind, &key, |aside| {
        session.tell.step(&format!("{name} {version} (two or three minutes the first time)"), || {
            let mut install = cargo::command(session);
            // What only their web servers and their updates from the network need is left out.
            install.args(["install", "--locked", "--no-default-features", "--version", version, name]);
            install.arg("--root").arg(aside).arg("--target-dir").arg(aside.join("target"));
            job::must(&session.tell, &session.cache.logs(), &format!("cargo install {name}"), &mut install)?;
            Ok(std::fs::remove_dir_all(aside.join("target"))?)
        })
    })?;
    Ok(place.join("bin").join(name))
}
