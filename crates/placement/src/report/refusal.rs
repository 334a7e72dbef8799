//! What was refused, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An artifact that was not published, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// The artifact's full store path.
    pub store_path: String,
    /// The kind of fault.
    pub reason: RefusalReason,
    /// The fault in words.
    pub message: String,
    /// The URL of the source that it came from.
    pub source: String,
}

macro_rules! refusal_reasons {
    ($($(#[$doc:meta])* $reason:ident = $text:literal,)*) => {
        /// Why an artifact is refused. Its text form is the label of the metric and of the condition.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum RefusalReason {
            $($(#[$doc])* #[serde(rename = $text)] $reason,)*
        }

        impl RefusalReason {
            /// All reasons, for a metric that shows each from the start.
            pub const ALL: &'static [Self] = &[$(Self::$reason,)*];

            /// The reason's label, in kebab case.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$reason => $text,)* }
            }
        }
    };
}

refusal_reasons! {
    /// Signed, but by no key that is trusted for the upstream.
    UntrustedKey = "untrusted-key",
    /// The narinfo carries no signature.
    Unsigned = "unsigned",
    /// A signature in a trusted key's name does not hold.
    BadSignature = "bad-signature",
    /// The NAR file does not have its FileHash.
    FileHash = "file-hash",
    /// The NAR file does not have its FileSize.
    FileSize = "file-size",
    /// The NAR does not have its NarHash.
    NarHash = "nar-hash",
    /// The NAR does not have its NarSize.
    NarSize = "nar-size",
    /// A reference is neither here nor in the catalog, or is itself refused.
    MissingReference = "missing-reference",
    /// Larger than the mirror's configuration takes.
    TooLarge = "too-large",
    /// The narinfo does not parse.
    BadNarinfo = "bad-narinfo",
    /// The narinfo's URL leaves the upstream, or is not http.
    ForbiddenUrl = "forbidden-url",
    /// The NAR file is compressed in a way that is not known here.
    UnknownCompression = "unknown-compression",
    /// No source has it.
    NotFound = "not-found",
    /// No source answered.
    UpstreamUnreachable = "upstream-unreachable",
    /// The disk refused to take it.
    Disk = "disk",
    /// There is no room for it.
    NoSpace = "no-space",
    /// The narinfo is of another store path than the one asked for.
    WrongPath = "wrong-path",
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
