//! Every command the README names: what it needs is fetched or built once, pinned, and kept in a cache folder
//! outside the tree.

mod apt;
mod bench;
mod cache;
mod cargo;
mod clients;
mod corpus;
mod demo;
mod fuzz;
mod go_tools;
mod guard;
mod images;
mod job;
mod key;
mod paths;
mod preflight;
mod setup;
mod tell;
mod test;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::setup::Session;

/// Granary's own commands. Set-up happens on demand; nothing needs to be prepared by hand.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Work(Work),
    /// Opens a shell, or runs one command, in the cluster that `demo --keep` left up.
    Shell {
        /// The command; a shell when absent.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Runs a command so that nothing that it starts outlives this one.
    #[command(hide = true)]
    Guarded {
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Waits for the end of its input, and ends the process group then.
    #[command(hide = true, name = guard::WATCH)]
    Watch {
        /// The id of the group.
        group: u32,
    },
}

/// What starts other programs, and leaves none.
#[derive(Subcommand)]
enum Work {
    /// Runs every check and test, and prints the count on the last line.
    Test {
        /// Only tests whose names contain one of these; the checks are left out then.
        filters: Vec<String>,
    },
    /// Shows the whole on a cluster of three nodes that it makes for itself.
    Demo(demo::Options),
    /// Ends the cluster that `demo --keep` left up.
    Down,
    /// Installs and builds what `test` and `demo` need, and says where it is.
    Setup {
        /// Only what does not depend on this tree: packages, Kubernetes, helm, the test corpus.
        #[arg(long)]
        base: bool,
    },
    /// Builds the OCI images of operator and mirror, byte for byte the same from the same programs and packages.
    Images {
        /// Where the image tars go; the cache folder when absent.
        #[arg(long)]
        out: Option<PathBuf>,
    },
    /// Writes the custom resource definitions that the types in `crds/` describe.
    Crds,
    /// Granary beside the real alternative, in one run, as ratios.
    Bench(bench::Options),
    /// Feeds the parsers of strangers' bytes with what libFuzzer thinks of: `narinfo`, `nar`, `cache_info`, `range`.
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        Command::Work(_) | Command::Guarded { .. } if !guard::is_guarded() => guard::again(),
        Command::Work(command) => work(command),
        Command::Guarded { command } => guard::become_program(&command),
        // The terminal is its own, and what it starts is what the user types.
        Command::Shell { command } => demo::shell(&Session::open()?, &command),
        Command::Watch { group } => guard::watch(group),
    }
}

fn work(command: Work) -> Result<ExitCode> {
    guard::obey_signals()?;
    let session = Session::open()?;
    match command {
        Work::Test { filters } => Ok(test::command(&session, &filters)),
        Work::Demo(options) => demo::command(&session, &options),
        Work::Down => demo::down(&session),
        Work::Setup { base } => setup::command(&session, base),
        Work::Images { out } => images::command(&session, out.as_deref()),
        Work::Bench(options) => bench::command(&session, &options),
        Work::Fuzz(options) => fuzz::command(&session, &options),
        Work::Crds => {
            cargo::crds(&session, "write")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
