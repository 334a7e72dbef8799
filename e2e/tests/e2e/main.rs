//! Tests on a real cluster: one cluster for all of them, one namespace for each.
//!
//! The program puts itself into namespaces (`granary_e2e::namespace`), so that it can be started like any other test;
//! without the cluster's programs it says what to run instead. Three tests run at once, apart from those that hurt a
//! node or the operator, which run alone. Arguments filter by name: a test runs when one of them is a part of its name.

mod api;
mod bad_input;
mod case;
mod channels;
mod cluster;
mod farm;
mod mission;
mod nodes;
mod objects;
mod operator;
mod probe;
mod refusals;
mod settings;
mod unreadable;
mod volumes;
mod world;

use std::env;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use granary_e2e::filters;
use granary_e2e::namespace::{self, Role, Run};
use libtest_mimic::{Arguments, Trial};

use case::Case;
use world::World;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("e2e: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let (rest, filters) = filters::split(env::args());
    let mut arguments = Arguments::from_iter(rest);
    let wanted = |case: &Case| filters::wants(&filters, arguments.exact, &case.name());
    let cases: Vec<Case> = cases().into_iter().filter(wanted).collect();
    if arguments.list {
        return Ok(libtest_mimic::run(&arguments, trials(cases, None)?).exit_code());
    }
    if cases.is_empty() {
        // A cluster for nothing would only take time.
        return Ok(libtest_mimic::run(&arguments, Vec::new()).exit_code());
    }
    if env::var_os("GRANARY_BIN").is_none() && env::var_os("GRANARY_REQUIRE_TOOLS").is_none() {
        println!("skipped: run cargo xtask test");
        return Ok(ExitCode::SUCCESS);
    }
    match namespace::enter()? {
        Role::Finished(code) => Ok(code),
        Role::Inside(run) => {
            // More would wait for the processors, and a test of how soon something is told would fail for nothing.
            arguments.test_threads = arguments.test_threads.or(Some(3));
            let trials = trials(cases, Some(run))?;
            Ok(libtest_mimic::run(&arguments, trials).exit_code())
        }
    }
}

fn cases() -> Vec<Case> {
    let topics = [
        cluster::cases(),
        api::cases(),
        mission::cases(),
        bad_input::cases(),
        refusals::cases(),
        settings::cases(),
        channels::cases(),
        unreadable::cases(),
        objects::cases(),
        operator::cases(),
        volumes::cases(),
        nodes::cases(),
    ];
    topics.into_iter().flatten().collect()
}

/// Without a run there is nothing to run on: the trials are only good for their names.
fn trials(cases: Vec<Case>, run: Option<Run>) -> Result<Vec<Trial>> {
    let world = run.map(World::new).transpose()?.map(Arc::new);
    let trial = |case: Case| {
        let world = world.clone();
        Trial::test(case.name(), move || match world {
            Some(world) => world.run(&case),
            None => Err("no namespaces".into()),
        })
    };
    Ok(cases.into_iter().map(trial).collect())
}
