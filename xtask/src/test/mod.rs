//! `cargo xtask test`: everything that has to hold, in steps; a failure does not keep the later ones from running.

mod charts;
mod checks;
mod counts;
mod leftovers;
mod named;
mod suites;
mod table;
pub mod tools;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use crate::setup::{self, Ready, Session};
use crate::test::counts::Counts;
use crate::test::table::Row;

/// What a step needs.
struct Context<'a> {
    session: &'a Session,
    ready: &'a Ready,
    /// Parts of names; only tests that have one of them in theirs run. Empty: all.
    filters: &'a [String],
}

/// One step. It says itself what it does; what it returns is counted.
struct Step {
    name: &'static str,
    /// Whether it is a test that filters apply to, rather than a check of the whole tree.
    filtered: bool,
    run: fn(&Context) -> Result<Counts>,
}

const STEPS: [Step; 10] = [
    Step { name: "rustfmt", filtered: false, run: checks::format },
    Step { name: "definitions", filtered: false, run: checks::definitions },
    Step { name: "clippy", filtered: false, run: checks::clippy },
    Step { name: "dependencies", filtered: false, run: checks::dependencies },
    Step { name: "charts", filtered: false, run: charts::check },
    Step { name: "book", filtered: false, run: checks::book },
    Step { name: "tests named in the book", filtered: false, run: named::check },
    Step { name: "unit and process tests", filtered: true, run: suites::crates },
    Step { name: "cluster tests", filtered: true, run: suites::cluster },
    Step { name: "nothing left behind", filtered: true, run: leftovers::check },
];

/// Runs the steps and prints the table and the count. With filters, only the tests whose names contain one of them.
pub fn command(session: &Session, filters: &[String]) -> ExitCode {
    let mut rows = Vec::new();
    let began = Instant::now();
    match setup::everything(session, true) {
        Ok(ready) => {
            rows.push(Row { name: "set-up", took: began.elapsed(), counts: Counts::default() });
            let context = Context { session, ready: &ready, filters };
            for step in STEPS.iter().filter(|step| filters.is_empty() || step.filtered) {
                rows.push(row(step, &context));
            }
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            rows.push(Row { name: "set-up", took: began.elapsed(), counts: Counts::one(false) });
        }
    }
    println!("\n{}", table::render(&rows, began.elapsed()));
    let total: Counts = rows.iter().map(|row| row.counts).sum();
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn row(step: &Step, context: &Context) -> Row {
    let began = Instant::now();
    let counts = (step.run)(context).unwrap_or_else(|error| {
        eprintln!("error: {}: {error:#}", step.name);
        Counts::one(false)
    });
    Row { name: step.name, took: began.elapsed(), counts }
}
