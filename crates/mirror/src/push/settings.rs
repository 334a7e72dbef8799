//! What the configuration says about push.

use std::path::PathBuf;

use granary_nix::PublicKeys;

/// What the configuration says about push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Who may push: a line for each token. Read again when it changes.
    pub token_file: PathBuf,
    /// Bytes that pushed artifacts, and uploads that wait, may have together.
    pub max_size: u64,
    /// Keys of which one must have signed what is pushed.
    pub public_keys: PublicKeys,
}
