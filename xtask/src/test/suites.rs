//! The tests: those of the crates, and those on a cluster.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::test::Context;
use crate::test::counts::Counts;
use crate::{cargo, job};

/// Lines of a failed run's log that are shown.
const SHOWN: usize = 400;

/// Unit tests, property tests and tests with real processes, of every crate.
pub fn crates(context: &Context) -> Result<Counts> {
    let mut test = cargo::command(context.session);
    test.args(["test", "--release", "--locked", "--workspace", "--no-fail-fast", "--exclude", "granary-e2e"]);
    let crates = run(context, "tests of the crates", test)?;
    let mut test = cargo::command(context.session);
    test.args(["test", "--release", "--locked", "--no-fail-fast", "--package", "granary-e2e"]);
    test.args(["--lib", "--bins", "--test", "charts"]);
    let harness = run(context, "tests of the cluster harness and of the charts", test)?;
    Ok([crates, harness].into_iter().sum())
}

/// The tests that need a cluster. Their program puts itself into namespaces and starts one.
pub fn cluster(context: &Context) -> Result<Counts> {
    let mut test = cargo::command(context.session);
    test.args(["test", "--release", "--locked", "--package", "granary-e2e", "--test", "e2e"]);
    run(context, "tests on a cluster of three nodes", test)
}

fn run(context: &Context, name: &str, mut test: Command) -> Result<Counts> {
    let session = context.session;
    test.arg("--").args(context.filters);
    context.ready.apply(session, &mut test);
    // A test that finds one of its tools missing fails, instead of being left out.
    test.env("GRANARY_REQUIRE_TOOLS", "1");
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
    let failure = |line: &str| {
        line.starts_with("failures:") || line.starts_with("error") || line.starts_with("thread '")
    };
    log.lines().skip_while(move |line| !failure(line)).filter(|line| {
        let passed = line.starts_with("test ") && (line.ends_with("... ok") || line.ends_with("... ignored"));
        !passed
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_shown_and_what_passed_is_not() {
        let log = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b ----\nwhy\ntest c ... ok\nend\n";
        let shown: Vec<_> = telling(log).collect();
        assert_eq!(shown, ["failures:", "", "---- b ----", "why", "end"]);
        assert_eq!(telling("test a ... ok\n").count(), 0);
    }
}
