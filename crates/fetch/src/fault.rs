//! Why something was not taken.

use granary_nix::{FieldProblem, NarInfoError, NarUrlError, Untrusted};
use granary_placement::report::RefusalReason;

/// Why a narinfo or a NAR was not taken: the kind that metrics and reports count, and words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// The kind.
    pub reason: RefusalReason,
    /// What exactly was wrong.
    pub message: String,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(reason: RefusalReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Whether it may go away by itself: the source did not answer, or the disk had no room. Everything else is a
    /// statement about the bytes.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self.reason,
            RefusalReason::UpstreamUnreachable | RefusalReason::Disk | RefusalReason::NoSpace
        )
    }
}

impl From<NarInfoError> for Fault {
    fn from(error: NarInfoError) -> Self {
        let reason = match &error {
            NarInfoError::Field { problem: FieldProblem::Compression(_), .. } => {
                RefusalReason::UnknownCompression
            }
            _ => RefusalReason::BadNarinfo,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<Untrusted> for Fault {
    fn from(error: Untrusted) -> Self {
        let reason = match &error {
            Untrusted::Unsigned | Untrusted::Unproven(_) | Untrusted::ContentAddress(_) => {
                RefusalReason::Unsigned
            }
            Untrusted::UntrustedKey { .. } | Untrusted::TooFew { .. } => RefusalReason::UntrustedKey,
            Untrusted::BadSignature { .. } => RefusalReason::BadSignature,
        };
        Self::new(reason, error.to_string())
    }
}

impl From<NarUrlError> for Fault {
    fn from(error: NarUrlError) -> Self {
        Self::new(RefusalReason::ForbiddenUrl, error.to_string())
    }
}
