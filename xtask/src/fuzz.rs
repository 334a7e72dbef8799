//! `cargo xtask fuzz`: what parses a stranger's bytes, fed by libFuzzer.
//!
//! Without a sanitizer this runs on the stable compiler. The crate forbids unsafe code, so that there is no memory to
//! get wrong: what is looked for are panics, overflows, endless work and the broken laws that the targets state.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use clap::Args;

use crate::setup::Session;
use crate::test::tools;
use crate::{cargo, job};

/// Where the targets are, in the source tree.
const FOLDER: &str = "crates/nix/fuzz";

/// A fuzz target.
struct Target {
    /// Its program.
    name: &'static str,
    /// What the names of files that are good inputs end in.
    seeds: &'static str,
    /// Longest input that is tried, in bytes: enough for every state of the parser, so that much is tried per second.
    longest: usize,
}

const TARGETS: [Target; 4] = [
    Target { name: "narinfo", seeds: ".narinfo", longest: 4096 },
    Target { name: "nar", seeds: ".nar", longest: 4096 },
    Target { name: "cache_info", seeds: "nix-cache-info", longest: 512 },
    Target { name: "range", seeds: ".range", longest: 64 },
];

/// What `cargo xtask fuzz` takes.
#[derive(Args)]
pub struct Options {
    /// The target; all of them when absent.
    #[arg(value_parser = TARGETS.map(|target| target.name))]
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs each target for the given time. A finding is kept in `target/fuzz/artifacts`, and ends the command.
pub fn command(session: &Session, options: &Options) -> Result<ExitCode> {
    let program = tools::get(session, &tools::FUZZ)?;
    let wanted = |target: &&Target| options.target.as_ref().is_none_or(|name| name == target.name);
    for target in TARGETS.iter().filter(wanted) {
        let title = format!("fuzz {}", target.name);
        session.tell.step(&format!("{title}: {} seconds", options.seconds), || {
            let mut run = run(session, &program, target, options.seconds)?;
            job::must(&session.tell, &session.cache.logs(), &title, &mut run)
        })?;
    }
    Ok(ExitCode::SUCCESS)
}

fn run(session: &Session, program: &Path, target: &Target, seconds: u32) -> Result<Command> {
    let Target { name, seeds, longest } = target;
    let release = cargo::release(session);
    let base = release.parent().context("the release folder has no parent")?.join("fuzz");
    let (corpus, artifacts) = (base.join("corpus").join(name), base.join("artifacts").join(name));
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let own = session.root.join(FOLDER).join("seeds").join(name);
    let given = std::env::var_os("GRANARY_FIXTURES").map(PathBuf::from);
    for (label, folder) in [("own", Some(own)), ("given", given)] {
        if let Some(folder) = folder.filter(|folder| folder.is_dir()) {
            copy(&folder, seeds, &corpus, label)?;
        }
    }

    let mut run = cargo::calling(session, program);
    run.args(["run", name]).arg(&corpus).args(["--sanitizer", "none"]);
    run.arg("--fuzz-dir").arg(session.root.join(FOLDER)).arg("--target-dir").arg(&base);
    run.arg("--").arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={longest}"));
    run.arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-timeout=10", "-print_final_stats=1"]);
    Ok(run)
}

/// Copies every file below `from` whose name ends so. A corpus knows its inputs by their contents, so a label
/// and a number serve as their names.
fn copy(from: &Path, ending: &str, to: &Path, label: &str) -> Result<()> {
    let mut folders = vec![from.to_path_buf()];
    let mut copied = 0;
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                copied += 1;
                let place = to.join(format!("{label}-{copied}"));
                std::fs::write(&place, std::fs::read(&path)?)
                    .with_context(|| format!("copying {} to {}", path.display(), place.display()))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_found_at_any_depth_by_their_names() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir_all(from.path().join("a/b")).unwrap();
        for (name, text) in [("x.nar", "1"), ("a/b/y.nar", "2"), ("a/z.narinfo", "3")] {
            std::fs::write(from.path().join(name), text).unwrap();
        }
        copy(from.path(), ".nar", to.path(), "seed").unwrap();
        let copies = std::fs::read_dir(to.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut texts: Vec<_> = copies.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        texts.sort();
        assert_eq!(texts, ["1", "2"]);
    }

    #[test]
    fn every_target_has_its_program_and_a_seed() {
        let folder = crate::paths::workspace().unwrap().join(FOLDER);
        for Target { name, seeds, .. } in TARGETS {
            assert!(folder.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
            let corpus = tempfile::tempdir().unwrap();
            copy(&folder.join("seeds").join(name), seeds, corpus.path(), "seed").unwrap();
            assert!(std::fs::read_dir(corpus.path()).unwrap().count() > 0, "{name}");
        }
    }
}
