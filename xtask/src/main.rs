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
mod images;
mod job;
mod key;
mod paths;
mod preflight;
mod setup;
mod tell;
mod test;

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
    /// Runs every check and test, and prints the count on the last line.
    Test {
        /// Only tests whose names contain one of these; the checks are left out then.
        filters: Vec<String>,
    },
    /// Shows the whole on a cluster of three nodes that it makes for itself.
    Demo(demo::Options),
    /// Opens a shell, or runs one command, in the cluster that `demo --keep` left up.
    Shell {
        /// The command; a shell when absent.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
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
    let session = Session::open()?;
    match cli.command {
        Command::Test { filters } => Ok(test::command(&session, &filters)),
        Command::Demo(options) => demo::command(&session, &options),
        Command::Shell { command } => demo::shell(&session, &command),
        Command::Down => demo::down(&session),
        Command::Setup { base } => setup::command(&session, base),
        Command::Images { out } => images::command(&session, out.as_deref()),
        Command::Bench(options) => bench::command(&session, &options),
        Command::Fuzz(options) => fuzz::command(&session, &options),
        Command::Crds => {
            cargo::crds(&session, "write")?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
