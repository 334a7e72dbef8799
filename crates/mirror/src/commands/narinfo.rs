//! `narinfo`: whether files parse and which signatures hold.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use granary_nix::narinfo::MAX_TEXT;
use granary_nix::{NarInfo, PublicKeys, SignatureCheck, SignatureOutcome};
use serde::Serialize;

use super::{CommandError, fault_line};
use crate::cli;

/// What was found in one file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    file: PathBuf,
    /// It parses and a trusted key vouches for it.
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_path: Option<String>,
    signatures: Vec<Signature>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Signature {
    key: String,
    outcome: &'static str,
}

pub(super) fn narinfo(args: &cli::Narinfo, keys: &PublicKeys) -> Result<ExitCode, CommandError> {
    let findings: Vec<Finding> = args.files.iter().map(|file| look(file, keys)).collect();
    let mut out = io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &findings).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for finding in &findings {
            writeln!(out, "{}", line(finding))?;
        }
    }
    let good = findings.iter().all(|finding| finding.ok);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn look(file: &Path, keys: &PublicKeys) -> Finding {
    let failed = |fault: String| Finding {
        file: file.into(),
        ok: false,
        store_path: None,
        signatures: Vec::new(),
        fault: Some(fault),
    };
    let text = match read(file) {
        Ok(text) => text,
        Err(error) => return failed(format!("cannot be read: {error}")),
    };
    match NarInfo::parse(&text) {
        Ok(info) => Finding {
            file: file.into(),
            ok: keys.verify(&info).is_ok(),
            store_path: Some(info.store_path.to_string()),
            signatures: keys.check_each(&info).into_iter().map(signature).collect(),
            fault: keys.verify(&info).err().map(|error| error.to_string()),
        },
        Err(error) => failed(format!("does not parse: {error}")),
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    // One byte more than a narinfo may have, so that the parser sees that it is too long.
    let limit = MAX_TEXT as u64 + 1;
    if file == Path::new("-") {
        io::stdin().lock().take(limit).read_to_end(&mut text)?;
    } else {
        File::open(file)?.take(limit).read_to_end(&mut text)?;
    }
    Ok(text)
}

fn signature(check: SignatureCheck) -> Signature {
    let SignatureCheck { key_name, outcome } = check;
    let outcome = match outcome {
        SignatureOutcome::Good => "good",
        SignatureOutcome::Bad => "bad",
        SignatureOutcome::UnknownKey => "unknown-key",
    };
    Signature { key: key_name, outcome }
}

fn line(finding: &Finding) -> String {
    let Finding { file, ok: _, store_path, signatures, fault } = finding;
    if let Some(fault) = fault {
        return fault_line(file, fault);
    }
    let signatures: Vec<String> =
        signatures.iter().map(|Signature { key, outcome }| format!("{key} {outcome}")).collect();
    fault_line(file, format!("ok: {} ({})", store_path.as_deref().unwrap_or_default(), signatures.join(", ")))
}
