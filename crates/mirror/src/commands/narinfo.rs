//! `narinfo`: whether files parse and which signatures hold.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use granary_nix::Trust;
use granary_nix::narinfo::MAX_TEXT;

use super::{CommandError, one_line};
use crate::cli;
use crate::verify::{KeyCheck, NarInfoCheck, check_narinfo, verify_narinfos};

pub(super) fn narinfo(args: &cli::Narinfo, trust: &Trust) -> Result<ExitCode, CommandError> {
    let mut checks = Vec::with_capacity(args.files.len());
    for file in &args.files {
        checks.extend(check(file, trust)?);
    }
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &checks).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for check in &checks {
            writeln!(out, "{}", one_line(line(check)))?;
            for note in &check.notes {
                eprintln!("{}: note: {}", check.file, one_line(note));
            }
        }
    }
    let good = checks.iter().all(|check| check.trusted);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(file: &PathBuf, trust: &Trust) -> Result<Vec<NarInfoCheck>, CommandError> {
    if file != Path::new("-") {
        return Ok(verify_narinfos(std::slice::from_ref(file), trust));
    }
    let mut text = Vec::new();
    // One byte more than a narinfo may have, so that the parser sees that it is too long.
    io::stdin().lock().take(MAX_TEXT as u64 + 1).read_to_end(&mut text).map_err(CommandError::Stdin)?;
    Ok(vec![check_narinfo("-".into(), &text, trust)])
}

fn line(check: &NarInfoCheck) -> String {
    let NarInfoCheck { file, trusted: _, store_path, signatures, reason, message, notes: _ } = check;
    let signatures: Vec<String> =
        signatures.iter().map(|KeyCheck { key, outcome }| format!("{key} {outcome}")).collect();
    match reason {
        Some(reason) => format!("{file}: {reason}: {}", message.as_deref().unwrap_or_default()),
        None => {
            format!("{file}: ok: {} ({})", store_path.as_deref().unwrap_or_default(), signatures.join(", "))
        }
    }
}
