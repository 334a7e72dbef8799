//! The check of single narinfo files.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use granary_fetch::Fault;
use granary_nix::narinfo::MAX_TEXT;
use granary_nix::{NarInfoView, PublicKeys, SignatureOutcome, Trust};
use granary_placement::report::RefusalReason;
use serde::Serialize;

/// What was found out about one narinfo file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NarInfoCheck {
    /// The file, as it was given.
    pub file: String,
    /// Whether it parses and meets the rules of trust.
    pub trusted: bool,
    /// What it is about, if it parses.
    pub store_path: Option<String>,
    /// Each well-formed signature.
    pub signatures: Vec<KeyCheck>,
    /// Why it is not trusted: the reason for which a mirror would refuse it.
    pub reason: Option<RefusalReason>,
    /// The same in words.
    pub message: Option<String>,
    /// What is odd, and does no harm.
    pub notes: Vec<String>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyCheck {
    /// The name of the key that is said to have signed.
    pub key: String,
    /// `good`, `bad` or `unknown-key`.
    pub outcome: &'static str,
}

/// Checks files; one answer for each, in their order.
#[must_use]
pub fn verify_narinfos(files: &[PathBuf], trust: impl Into<Trust>) -> Vec<NarInfoCheck> {
    let trust = trust.into();
    let check = |path: &PathBuf| {
        let file = path.display().to_string();
        match read_bounded(path) {
            Ok(text) => check_narinfo(file, &text, &trust),
            Err(error) => refused(file, Fault::new(RefusalReason::Disk, error.to_string())),
        }
    };
    files.iter().map(check).collect()
}

/// Checks a narinfo's text; `file` is only repeated.
#[must_use]
pub fn check_narinfo(file: String, text: &[u8], trust: impl Into<Trust>) -> NarInfoCheck {
    let trust = trust.into();
    let view = match NarInfoView::parse(text) {
        Ok(view) => view,
        Err(error) => return refused(file, error.into()),
    };
    let info = view.to_narinfo();
    let outcome = |outcome| match outcome {
        SignatureOutcome::Good => "good",
        SignatureOutcome::Bad => "bad",
        SignatureOutcome::UnknownKey => "unknown-key",
    };
    let keys: PublicKeys = trust.rules().iter().flat_map(|rule| rule.keys.as_slice()).cloned().collect();
    let signatures = keys
        .check_each(&info)
        .into_iter()
        .map(|check| KeyCheck { key: check.key_name, outcome: outcome(check.outcome) })
        .collect();
    let malformed = view.malformed_sigs.iter().map(|line| {
        format!("line {}: this signature is malformed; Nix 2.34 refuses a narinfo that has one", line.number)
    });
    let unknown =
        view.unknown.iter().map(|line| format!("line {}: unknown field {:?}", line.number, line.key));
    let notes = malformed.chain(unknown).collect();
    let fault = trust.judge(&info).err().map(Fault::from);
    let (reason, message) = fault.map(|Fault { reason, message }| (reason, message)).unzip();
    let store_path = Some(info.store_path.to_string());
    NarInfoCheck { file, trusted: reason.is_none(), store_path, signatures, reason, message, notes }
}

fn refused(file: String, Fault { reason, message }: Fault) -> NarInfoCheck {
    NarInfoCheck {
        file,
        trusted: false,
        store_path: None,
        signatures: Vec::new(),
        reason: Some(reason),
        message: Some(message),
        notes: Vec::new(),
    }
}

/// Reads a file of which no more than a narinfo may have is of interest.
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_TEXT as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use granary_nix::{NarInfo, SecretKey};

    use super::*;

    #[test]
    fn says_which_signatures_hold_and_why_none_does() {
        let key = |name: &str, seed| SecretKey::from_seed(name, &[seed; 32]).unwrap();
        let keys: PublicKeys = [key("a-1", 1).public_key(), key("b-1", 2).public_key()].into_iter().collect();
        let mut info: NarInfo = "StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a\nURL: x\n\
                                 NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s\nNarSize: 9\n"
            .parse()
            .unwrap();
        info.sigs =
            [key("a-1", 1), key("b-1", 9), key("c-1", 3)].map(|key| key.sign(&info.fingerprint())).into();
        let text = format!("{}X-Other: 1\nSig: nonsense\n", info.to_text());
        let check = check_narinfo("f".into(), text.as_bytes(), &keys);
        let outcomes: Vec<_> =
            check.signatures.iter().map(|check| (check.key.as_str(), check.outcome)).collect();
        assert_eq!(outcomes, [("a-1", "good"), ("b-1", "bad"), ("c-1", "unknown-key")]);
        assert!(check.trusted && check.reason.is_none() && check.notes.len() == 2, "{check:?}");

        info.sigs.remove(0);
        let check = check_narinfo("f".into(), info.to_text().as_bytes(), &keys);
        assert_eq!((check.trusted, check.reason), (false, Some(RefusalReason::BadSignature)));
        let check = check_narinfo("f".into(), b"", &keys);
        assert_eq!((check.trusted, check.reason), (false, Some(RefusalReason::BadNarinfo)));
        let check = &verify_narinfos(&["/nonexistent/file".into()], &keys)[0];
        assert_eq!((check.trusted, check.reason), (false, Some(RefusalReason::Disk)));
    }
}
