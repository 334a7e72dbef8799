//! How a mirror keeps what it has: retention, room, scrub.

use serde::{Deserialize, Serialize};

/// How a mirror keeps what it has. What is absent is not configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Upkeep {
    /// What nobody wants any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionReport>,
    /// Room on the disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capacity: Option<CapacityReport>,
    /// The reading again of everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrub: Option<ScrubReport>,
}

/// What nobody wants any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RetentionReport {
    /// Published artifacts that nobody wants, and whose grace is running.
    pub unwanted: u64,
    /// Artifacts in the trash with their NAR files.
    pub trashed: u64,
    /// Bytes of these NAR files.
    pub trashed_bytes: u64,
    /// Why no period goes on now: it is not known what is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

/// Room on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CapacityReport {
    /// Bytes that may still be written to the filesystem, whatever has to stay free; absent when it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// Why something was not taken in, and would not be now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub full: Option<String>,
    /// Whether that is because the disk is read-only: then nothing is taken in, whatever room it has.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// The reading again of everything, which is done round after round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScrubReport {
    /// When the round began, RFC 3339.
    pub began: String,
    /// Artifacts that were read in it.
    pub read_artifacts: u64,
    /// Artifacts that are to be read in it.
    pub artifacts: u64,
    /// Bytes that were read in it.
    pub read_bytes: u64,
    /// Bytes that are to be read in it.
    pub bytes: u64,
    /// When the round before it ended, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Artifacts that were found rotten so far.
    pub rotten: u64,
    /// Why it does not do what it should: it will not end within its period, or the disk cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}
