//! The subcommands: from arguments to an exit code.

mod brought;
mod carry;
mod follow;
mod narinfo;
pub mod prepare;
mod progress;
mod sync;
mod verify;

use std::fmt::Display;
use std::process::ExitCode;

use granary_nix::{PublicKeys, Trust, TrustRule};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::agent::AgentError;
use crate::carry::CarryError;
use crate::cli::{Command, Keys};
use crate::config::{Config, ConfigError};
use crate::front::{self, Supervisor, SupervisorError};
use crate::verify::VerifyError;

/// A command that could not do its work. Faults that it was asked to find are an exit code instead.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The configuration is not usable.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// The agent cannot start.
    #[error("{0}")]
    Agent(#[from] AgentError),
    /// nginx cannot start.
    #[error("{0}")]
    Front(#[from] SupervisorError),
    /// `prepare` failed.
    #[error("{0}")]
    Prepare(#[from] prepare::PrepareError),
    /// `export` or `import` cannot go on.
    #[error("{0}")]
    Carry(#[from] CarryError),
    /// `--from` is not usable.
    #[error("--from {from:?}: {problem}")]
    From {
        /// As given.
        from: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A key is not usable.
    #[error("--public-key {key:?}: {problem}")]
    Key {
        /// The key as given.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// As many signatures as there cannot be.
    #[error("--signatures {signatures} is not between 1 and {most}, the number of different keys")]
    Signatures {
        /// As given.
        signatures: usize,
        /// How many different keys there are.
        most: usize,
    },
    /// `sync` in map mode without a map.
    #[error("no mirror map can be read from map.file, map.url or the copy on disk: {0}")]
    NoMap(String),
    /// What was found could not be printed.
    #[error("cannot print: {0}")]
    Print(#[from] std::io::Error),
    /// The signals of this process cannot be listened to.
    #[error("cannot listen to signals: {0}")]
    Signals(std::io::Error),
    /// The standard input cannot be read.
    #[error("cannot read the standard input: {0}")]
    Stdin(std::io::Error),
    /// The tree cannot be read at all.
    #[error("{0}")]
    Tree(#[from] VerifyError),
}

/// Runs a command.
pub async fn run(command: Command) -> Result<ExitCode, CommandError> {
    match command {
        Command::Run(args) => {
            let config = Config::load(&args.config)?;
            let front = front::place(&config.front_directory);
            let supervisor =
                Supervisor::new(&args.nginx, &front).after(front::earlier(&config.front_directory));
            let stop = stopped_by_signals()?;
            let agent = Box::pin(follow::agent(&args.config, config, &front, &stop));
            both(agent, supervisor.run(stop.clone()), &stop).await?;
        }
        Command::Agent(args) => {
            let config = Config::load(&args.config)?;
            let front = config.front_directory.clone();
            Box::pin(follow::agent(&args.config, config, &front, &stopped_by_signals()?)).await?;
        }
        Command::Front(args) => {
            let directory = std::path::absolute(&args.dir)?;
            Supervisor::new(&args.nginx, &directory).run(stopped_by_signals()?).await?;
        }
        Command::Prepare(args) => prepare::prepare(&args.dir, args.owner)?,
        Command::Sync(args) => {
            return sync::sync(Config::load(&args.config)?, args.quiet, stopped_by_signals()?).await;
        }
        Command::Export(args) => return carry::export(args, stopped_by_signals()?).await,
        Command::Import(args) => return carry::import(args, stopped_by_signals()?).await,
        Command::Verify(args) => return verify::verify(&args, &trust(&args.keys)?),
        Command::Narinfo(args) => return narinfo::narinfo(&args, &trust(&args.keys)?),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs agent and front. When one of them cannot go on, the other is stopped too.
async fn both(
    agent: impl Future<Output = Result<(), AgentError>>,
    front: impl Future<Output = Result<(), SupervisorError>>,
    stop: &CancellationToken,
) -> Result<(), CommandError> {
    let guard = |outcome: Result<(), CommandError>| {
        if let Err(error) = &outcome {
            error!(%error, "stopping");
            stop.cancel();
        }
        outcome
    };
    let agent = async { guard(agent.await.map_err(CommandError::from)) };
    let front = async { guard(front.await.map_err(CommandError::from)) };
    let (agent, front) = tokio::join!(agent, front);
    agent.and(front)
}

/// A token that SIGTERM or SIGINT cancels.
fn stopped_by_signals() -> Result<CancellationToken, CommandError> {
    let mut term = signal(SignalKind::terminate()).map_err(CommandError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CommandError::Signals)?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping");
        token.cancel();
    });
    Ok(stop)
}

fn trust(args: &Keys) -> Result<Trust, CommandError> {
    if let Some(path) = &args.config {
        return Ok(Config::load(path)?.trust());
    }
    let (keys, signatures, content_addressed) =
        (keys(&args.public_keys)?, args.signatures, args.content_addressed);
    let most = keys.different().max(1);
    if !(1..=most).contains(&signatures) {
        return Err(CommandError::Signatures { signatures, most });
    }
    Ok(TrustRule { keys, signatures, content_addressed }.into())
}

/// Each argument holds one key or several between spaces.
fn keys(arguments: &[String]) -> Result<PublicKeys, CommandError> {
    let words = arguments.iter().flat_map(|argument| argument.split_whitespace());
    words
        .map(|word| {
            word.parse().map_err(|error: granary_nix::KeyError| CommandError::Key {
                key: word.into(),
                problem: error.to_string(),
            })
        })
        .collect()
}

/// One line, whatever a stranger's file says.
fn one_line(text: impl Display) -> String {
    text.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
