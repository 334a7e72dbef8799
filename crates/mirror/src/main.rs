//! The `granary-mirror` program.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::thread::available_parallelism;

use clap::Parser as _;
use granary_mirror::cli::{Cli, Command, LogFormat};
use granary_mirror::{commands, open_files};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(cli.command.log_level()));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Human => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    open_files::raise();
    // An error here says only that one was installed before, which would be this one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match runtime(&cli.command) {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("granary-mirror: cannot start threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(commands::run(cli.command));
    // A decoder that is still busy has nothing to publish any more.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| {
        eprintln!("granary-mirror: {error}");
        ExitCode::FAILURE
    })
}

/// The threads that do everything but decoding and waiting for the disk. A sync has them for moving bytes alone: the fewer, the
/// less they get in the way of the decoders, which have a thread for each core.
fn runtime(command: &Command) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Command::Sync(_) = command {
        builder.worker_threads(available_parallelism().map_or(1, usize::from).div_ceil(2));
    }
    builder.enable_all().build()
}
