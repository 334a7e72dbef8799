//! `verify`: a whole tree.

use std::process::ExitCode;

use granary_nix::PublicKeys;

use super::CommandError;
use crate::cli;

pub(super) fn verify(args: &cli::Verify, _: &PublicKeys) -> Result<ExitCode, CommandError> {
    Err(CommandError::Tree(format!("{}: not yet", args.dir.display())))
}
