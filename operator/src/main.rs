//! `granary-operator`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser;
use granary_operator::{
    config::{Args, Config},
    run::run,
};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let config = match Config::try_from(Args::parse()) {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let filter = match EnvFilter::builder().parse(&config.log) {
        Ok(filter) => filter,
        Err(error) => return refuse(&error),
    };
    tracing_subscriber::fmt().json().with_env_filter(filter).init();
    // Before any connection: with one provider installed, no library has to guess. It fails only if there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return refuse(&error),
    };
    let ended = runtime.block_on(run(config));
    // Whatever is still running ends here and now: a leader that has stopped must not write.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "exiting");
            ExitCode::FAILURE
        }
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("granary-operator: {error}");
    ExitCode::FAILURE
}
