//! `verify`: a whole tree. Faults go to stdout, a line each; what is only odd, and the summary, to stderr.

use std::io::{self, Write as _};
use std::process::ExitCode;

use granary_nix::Trust;

use super::{CommandError, one_line};
use crate::cli;
use crate::verify::verify_tree;

pub(super) fn verify(args: &cli::Verify, trust: &Trust) -> Result<ExitCode, CommandError> {
    let check = verify_tree(&args.dir, trust)?;
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &check).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for fault in &check.faults {
            writeln!(out, "{}", one_line(fault))?;
        }
        for note in &check.notes {
            eprintln!("note: {}", one_line(note));
        }
        eprintln!(
            "{}: {} artifacts with {} bytes of NAR files, {} files beside them ({} of them logs), {} narinfos in the \
             catalog, {} faults",
            args.dir.display(),
            check.artifacts,
            check.bytes,
            check.extras,
            check.logs,
            check.catalog,
            check.faults.len()
        );
    }
    Ok(if check.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
