//! Checks of the whole tree that are no tests.

use std::process::Command;

use anyhow::Result;

use crate::test::Context;
use crate::test::counts::Counts;
use crate::test::tools;
use crate::{cargo, job};

/// The layout of the sources.
pub fn format(context: &Context) -> Result<Counts> {
    let mut format = cargo::command(context.session);
    format.args(["fmt", "--all", "--check"]);
    must(context, "rustfmt", &mut format)
}

/// The generated YAML is what the types describe.
pub fn definitions(context: &Context) -> Result<Counts> {
    cargo::crds(context.session, "check")?;
    Ok(Counts::one(true))
}

/// The lints, in all targets. With the optimised profile, whose build scripts and macros the tests need anyway.
pub fn clippy(context: &Context) -> Result<Counts> {
    let mut clippy = cargo::command(context.session);
    clippy.args(["clippy", "--release", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    must(context, "clippy", &mut clippy)
}

/// `deny.toml`: one TLS provider, licences that go with ours, one source of packages.
pub fn dependencies(context: &Context) -> Result<Counts> {
    let mut deny = Command::new(tools::get(context.session, &tools::DENY)?);
    deny.current_dir(&context.session.root).args(["--locked", "check", "bans", "licenses", "sources"]);
    must(context, "cargo-deny", &mut deny)
}

/// The book is complete and can be made.
pub fn book(context: &Context) -> Result<Counts> {
    let mut mdbook = Command::new(tools::get(context.session, &tools::MDBOOK)?);
    mdbook.arg("build").arg(context.session.root.join("docs"));
    mdbook.arg("--dest-dir").arg(context.session.cache.root().join("tmp/book"));
    must(context, "mdbook", &mut mdbook)
}

fn must(context: &Context, name: &str, command: &mut Command) -> Result<Counts> {
    let session = context.session;
    session.tell.step(name, || job::must(&session.tell, &session.cache.logs(), name, command))?;
    Ok(Counts::one(true))
}
