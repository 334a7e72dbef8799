//! Cargo, called from a command that Cargo started.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::job;
use crate::setup::Session;

/// A `cargo` in the source tree, without the variables that describe this crate: build scripts that watch them
/// would run again each time.
pub fn command(session: &Session) -> Command {
    calling(session, "cargo")
}

/// The same for a program that calls Cargo.
pub fn calling(session: &Session, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(&session.root);
    for (name, _) in std::env::vars_os() {
        if describes_a_crate(&name.to_string_lossy()) {
            command.env_remove(name);
        }
    }
    command
}

/// Where the optimised programs are.
pub fn release(session: &Session) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    // A relative folder is relative to where cargo is started, which is the source tree.
    session.root.join(target.unwrap_or_else(|| PathBuf::from("target"))).join("release")
}

/// Builds the programs that go into the images.
pub fn programs(session: &Session) -> Result<()> {
    let mut build = command(session);
    build.args(["build", "--release", "--locked", "-p", "granary-operator", "-p", "granary-mirror"]);
    session.tell.step("granary-operator and granary-mirror, optimised", || {
        job::must(&session.tell, &session.cache.logs(), "cargo build", &mut build)
    })
}

/// Builds what the benchmarks run: the mirror, and the small programs beside it that make data and take bounds.
pub fn benchmarks(session: &Session) -> Result<()> {
    let mut build = command(session);
    build.args([
        "build",
        "--release",
        "--locked",
        "-p",
        "granary-mirror",
        "-p",
        "granary-fetch",
        "--bins",
        "--examples",
    ]);
    session.tell.step("granary-mirror and the programs of the benchmarks, optimised", || {
        job::must(&session.tell, &session.cache.logs(), "cargo build benchmarks", &mut build)
    })
}

/// Writes the custom resource definitions, or compares them with what the types describe (`check`).
pub fn crds(session: &Session, action: &str) -> Result<()> {
    let mut run = command(session);
    run.args(["run", "--release", "--locked", "--quiet", "-p", "granary-crds", "--", action, "crds/yaml"]);
    session.tell.step(&format!("custom resource definitions: {action} crds/yaml"), || {
        job::must(&session.tell, &session.cache.logs(), "crds", &mut run)
    })
}

fn describes_a_crate(variable: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    variable == "CARGO_PRIMARY_PACKAGE" || prefixes.iter().any(|prefix| variable.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_settings_stay() {
        assert!(describes_a_crate("CARGO_PKG_VERSION"));
        assert!(describes_a_crate("CARGO_MANIFEST_DIR"));
        assert!(!describes_a_crate("CARGO_HOME"));
        assert!(!describes_a_crate("CARGO_TARGET_DIR"));
        assert!(!describes_a_crate("CARGO_NET_OFFLINE"));
    }
}
