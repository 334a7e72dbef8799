//! Why a reconcile failed: one variant for each step.

use super::{apply, build};

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The object does not parse. It waits for a change, not for a retry.
    #[error("the CacheMirror cannot be read: {0}")]
    Unreadable(String),
    /// A step that is pure failed.
    #[error("failed to build the objects")]
    Build(#[from] build::Error),
    /// Something could not be written.
    #[error("failed to apply the objects")]
    Apply(#[from] apply::Error),
    /// The status could not be written.
    #[error("failed to write the status")]
    Status(#[source] Box<kube::Error>),
}

// === impl Error ===

impl Error {
    /// The kind of the error, for a metric.
    pub(super) fn metric_label(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::Build(_) => "build",
            Self::Apply(error) => error.metric_label(),
            Self::Status(_) => "status",
        }
    }

    /// The error with its causes, in one line.
    pub(super) fn chain(&self) -> String {
        chain(self)
    }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        // Some errors repeat their cause.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}
