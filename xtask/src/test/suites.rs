//! The tests: those of the crates, and those on a cluster.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::test::Context;
use crate::test::counts::Counts;
use crate::{cargo, job};

/// The test program that starts a cluster.
const CLUSTER: &str = "e2e";

/// Lines of a failed run's log that are shown.
const SHOWN: usize = 2000;

/// Unit tests, property tests and tests with real processes, of every crate.
pub fn crates(context: &Context) -> Result<Counts> {
    let mut test = cargo::command(context.session);
    test.args(["test", "--release", "--locked", "--workspace", "--no-fail-fast", "--exclude", "granary-e2e"]);
    let crates = run(context, "tests of the crates", test)?;
    let mut test = cargo::command(context.session);
    test.args(["test", "--release", "--locked", "--no-fail-fast", "--package", "granary-e2e"]);
    test.args(["--lib", "--bins"]);
    for name in programs(&context.session.root.join("e2e/tests"))?.iter().filter(|name| *name != CLUSTER) {
        test.args(["--test", name]);
    }
    let harness = run(context, "tests of the cluster harness and of the charts", test)?;
    Ok([crates, harness].into_iter().sum())
}

/// The tests that need a cluster. Their program puts itself into namespaces and starts one.
pub fn cluster(context: &Context) -> Result<Counts> {
    let mut test = cargo::command(context.session);
    test.args(["test", "--release", "--locked", "--package", "granary-e2e", "--test", CLUSTER]);
    run(context, "tests on a cluster of three nodes", test)
}

/// The test programs below a `tests` folder, so that none is forgotten: files, and folders with a `main.rs`.
fn programs(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let program =
            path.extension().is_some_and(|extension| extension == "rs") || path.join("main.rs").exists();
        if program && let Some(name) = path.file_stem() {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn run(context: &Context, name: &str, mut test: Command) -> Result<Counts> {
    let session = context.session;
    test.arg("--").args(context.filters);
    context.ready.apply(session, &mut test);
    // A test that finds one of its tools missing fails, instead of being left out.
    test.env("GRANARY_REQUIRE_TOOLS", "1").env("GRANARY_XTASK", std::env::current_exe()?);
    session.tell.say(&format!("{name} ..."));
    let ended = job::run(&session.tell, &session.cache.logs(), name, &mut test)?;
    let log = String::from_utf8_lossy(&fs::read(&ended.log)?).into_owned();
    let counts = Counts::parse(&log);
    if ended.status.success() {
        session.tell.say(&format!("{name}: {} passed", counts.passed));
        return Ok(counts);
    }
    show(&log, &ended.log);
    let counts = counts.failed_at_least_once();
    session.tell.say(&format!("{name}: {} passed, {} FAILED", counts.passed, counts.failed));
    Ok(counts)
}

/// Prints what a reader of a failed run wants first.
fn show(log: &str, place: &Path) {
    for line in telling(log).take(SHOWN) {
        eprintln!("{line}");
    }
    eprintln!("all of it: {}", place.display());
}

/// The log from its first failure on, without the tests that passed.
fn telling(log: &str) -> impl Iterator<Item = &str> {
    // A cluster test says what explains its failure before the list of failures.
    let beginnings = ["failures:", "error", "thread '", "=== what explains"];
    let failure = move |line: &str| beginnings.iter().any(|beginning| line.starts_with(beginning));
    log.lines().skip_while(move |line| !failure(line)).filter(|line| {
        let passed = line.starts_with("test ") && (line.ends_with("... ok") || line.ends_with("... ignored"));
        !passed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_files_and_folders() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["two", "helpers"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        for file in ["one.rs", "two/main.rs", "helpers/mod.rs", "notes.txt"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(programs(dir.path()).unwrap(), ["one", "two"]);
    }

    #[test]
    fn a_failure_is_shown_and_what_passed_is_not() {
        let log = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b ----\nwhy\ntest c ... ok\nend\n";
        let shown: Vec<_> = telling(log).collect();
        assert_eq!(shown, ["failures:", "", "---- b ----", "why", "end"]);
        assert_eq!(telling("test a ... ok\n").count(), 0);
    }
}
